"""Capture a model's computation as plain data, once, without changing the model."""
