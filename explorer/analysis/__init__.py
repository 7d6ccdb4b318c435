"""Tables and histograms to numbers: runs compared, drift, movement. Takes plain values, never a path or a run."""
