"""Run recorded models again: weights of a step, what they are run on, and the graph as modules."""
