"""Captured programs: which operators they may call, and the interpreter that runs them."""
