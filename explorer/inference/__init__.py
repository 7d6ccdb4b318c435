"""Run any recorded step again, without its author's code, as it was and edited."""
