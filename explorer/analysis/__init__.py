"""Tables to numbers: comparison of runs. Takes plain values and tables, never a path or a run."""
