"""Whether a series is what it should be."""

import numpy as np


def same(series, expected):
    step, value, wall_us = expected
    assert series.step.tolist() == step.tolist()
    assert np.array_equal(series.value, value, equal_nan=True)
    assert series.wall_us.tolist() == wall_us.tolist()
