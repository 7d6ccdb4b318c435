"""Histograms of real arrays, as the recorder makes them."""

import dataclasses

import numpy as np
import pytest

from explorer.storage.bins import concatenate, histogram_of


@pytest.fixture(scope="session")
def rows():
    """`rows(a, b, ...)`: one row for each array, at steps 0, 1, ...; the values as float32, as bins hold them."""

    def make(*arrays, steps=None):
        at = range(len(arrays)) if steps is None else steps
        return concatenate([histogram_of(values, step) for values, step in zip(arrays, at, strict=True)])

    return make


@pytest.fixture(scope="session")
def labels():
    """`labels(a, b, ...)`: one row of whole numbers for each array."""

    def make(*arrays):
        parts = []
        for step, values in enumerate(arrays):
            bins, counts = np.unique(values, return_counts=True)
            part = dataclasses.replace(
                histogram_of(values, step),
                m=np.array([-1]),
                offsets=np.array([0, len(bins)]),
                bins=bins.astype(np.int16),
                counts=counts,
            )
            parts.append(part)
        return concatenate(parts)

    return make


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(params=[1, 2**21], ids=["small", "above 31 bits together"])
def two_widths(request, rng):
    """The same rows with counts of 64 and of 32 bits; where they are large, those of a row together need more."""
    wide = concatenate([histogram_of(rng.standard_normal(1_000) * (1 + k / 9) + k / 50, k) for k in range(9)])
    wide = dataclasses.replace(wide, counts=wide.counts * request.param, n=wide.n * request.param)
    return wide, dataclasses.replace(wide, counts=wide.counts.astype(np.int32))
