"""Shared bins against the dense tables of the histograms."""

import numpy as np
import pytest

from explorer.analysis.shared_bins import Scratch, Span, shared_bins, shared_pairs
from explorer.storage.bins import WHOLE_NUMBERS, bin_edges, concatenate, histogram_of


@pytest.fixture
def h(rng):
    return concatenate([histogram_of(rng.standard_normal(300) * 10.0**-k, k).at_m(3 + k % 3) for k in range(40)])


def shares(h, m):
    counts = h.dense(m)[2]
    return counts.cumsum(axis=1)[:, counts.any(axis=0)] / counts.sum(axis=1, keepdims=True)


def test_shares_are_those_of_the_counts_on_all_bins(h):
    below, low, high = shared_bins([Span(h, 0, 40)], 3, Scratch())
    np.testing.assert_allclose(below[1:].T, shares(h, 3))
    assert (below[0] == 0).all()
    assert (below[-1] == 1).all()
    assert (low[1:] >= high[:-1]).all()
    assert np.isin(np.abs(low), bin_edges(3)).all()


def test_spans_stand_one_after_the_other(h):
    other = h.take(range(39, -1, -1))
    below, _, _ = shared_bins([Span(h, 3, 9), Span(other, 30, 33)], 3, Scratch())
    joined = concatenate([h.take(range(3, 9)), other.take(range(30, 33))])
    np.testing.assert_allclose(below[1:].T, shares(joined, 3))


def test_used_memory_leaves_no_trace(h):
    scratch = Scratch()
    shared_bins([Span(h, 0, 40)], 3, scratch)
    again = shared_bins([Span(h, 5, 8)], 3, scratch)
    fresh = shared_bins([Span(h, 5, 8)], 3, Scratch())
    for one, other in zip(again, fresh, strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_pair_comes_once_at_the_smaller_of_its_mantissa_bits(h):
    left, right = np.arange(1, 40), np.arange(39)
    seen = []
    for block in shared_pairs(h, h, left, right, Scratch()):
        m = np.minimum(h.m[left], h.m[right])[block.pairs]
        assert len(set(m.tolist())) == 1
        for column, pair in enumerate(block.pairs):
            gap = np.abs(block.rows[:, column] - block.reference[:, column % block.reference.shape[1]]).max()
            one, other = (h.row(int(i)).at_m(int(m[0])) for i in (left[pair], right[pair]))
            dense = concatenate([one, other]).dense()[2].cumsum(axis=1) / 300
            assert gap == pytest.approx(np.abs(dense[0] - dense[1]).max())
        seen += block.pairs.tolist()
    assert sorted(seen) == list(range(39))


def test_whole_numbers_are_points(labels):
    below, low, high = shared_bins([Span(labels([0, 3, 3], [5]), 0, 2)], WHOLE_NUMBERS, Scratch())
    assert low.tolist() == high.tolist() == [0, 3, 5]
    np.testing.assert_allclose(below.T, [[0, 1 / 3, 1, 1], [0, 0, 0, 1]])
