"""Snapshots: the parameters of a step, copied between two steps and written by the background thread."""
