"""Edits of weights, activations and inputs: recipes as plain data, and what they do to tensors."""
