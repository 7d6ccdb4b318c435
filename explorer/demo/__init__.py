"""Real trainings to look at: a small sweep on scikit-learn's digits, recorded through the public API."""

from explorer.demo.sweep import record_demo

__all__ = ["record_demo"]
