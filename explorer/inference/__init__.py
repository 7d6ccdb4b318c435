"""Recorded models as PyTorch has them. The only part besides recording that imports torch."""
