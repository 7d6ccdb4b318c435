"""A run as tables: the catalogue of a root, the scalars of a run, downsampling to pixels, and what a user edits."""
