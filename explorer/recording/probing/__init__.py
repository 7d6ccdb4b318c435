"""What the layers of a model answer to one fixed batch, recorded now and then: for comparing representations (CKA)."""
