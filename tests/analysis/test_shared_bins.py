"""Shared bins against the dense tables of the histograms."""

import numpy as np
import pytest

from explorer.analysis.quantiles import bin_bounds
from explorer.analysis.shared_bins import Pairs, Scratch, Span, shared_bins, shared_pairs
from explorer.storage.bins import WHOLE_NUMBERS, bin_edges, concatenate, histogram_of


@pytest.fixture
def h(rng):
    return concatenate([histogram_of(rng.standard_normal(300) * 10.0**-k, k).at_m(3 + k % 3) for k in range(40)])


def assert_shares(found, h, m):
    """The shares are those of the dense table; bins that nobody occupies may be left out."""
    _, first, counts = h.dense(m)
    low, _ = bin_bounds(np.arange(first, first + counts.shape[1]).astype(np.int16), m)
    there = np.isin(low, found.low)
    assert there.sum() == len(found.low)
    assert not counts[:, ~there].any()
    np.testing.assert_array_equal(found.below[:, 1:], (counts.cumsum(axis=1) / counts.sum(axis=1)[:, None])[:, there])
    assert (found.below[:, 0] == 0).all()


@pytest.mark.parametrize("m", [3, 6])
def test_shares_are_those_of_the_counts_on_all_bins(rng, m):
    h = concatenate([histogram_of(rng.standard_normal(300) * 10.0**-k, k).at_m(m) for k in range(-3, 3)])
    found = shared_bins([Span(h, 0, 6)], m, Scratch())
    assert_shares(found, h, m)
    assert (found.below[:, -1] == 1).all()
    assert (found.low[1:] >= found.high[:-1]).all()
    assert np.isin(np.abs(found.low), bin_edges(m)).all()


def test_rows_of_several_mantissa_bits_are_folded_to_the_fewest(h):
    assert_shares(shared_bins([Span(h, 0, 40)], 3, Scratch()), h, 3)


def test_of_a_wide_range_only_occupied_bins_are_kept():
    h = histogram_of([-1e30, -1e-30, 1e-30, 1e30]).at_m(7)
    assert shared_bins([Span(h, 0, 1)], 7, Scratch()).below.tolist() == [[0, 0.25, 0.5, 0.75, 1]]


def test_rows_of_one_sign_and_rows_without_values_have_their_place():
    h = concatenate([histogram_of([1.0, 2.0]), histogram_of([np.nan]), histogram_of([1.5])])
    assert_shares(shared_bins([Span(h.take([0, 2]), 0, 2)], 7, Scratch()), h.take([0, 2]), 7)
    assert shared_bins([Span(h, 1, 2)], 7, Scratch()).below.tolist() == [[0]]
    below = shared_bins([Span(h, 0, 3)], 7, Scratch()).below
    assert (below[1] == 0).all()
    assert (below[[0, 2], -1] == 1).all()
    negative = histogram_of([-1.0, -2.0])
    assert_shares(shared_bins([Span(negative, 0, 1)], 7, Scratch()), negative, 7)


def test_spans_stand_one_after_the_other(h):
    other = h.take(range(39, -1, -1))
    joined = concatenate([h.take(range(3, 9)), other.take(range(30, 33))])
    assert_shares(shared_bins([Span(h, 3, 9), Span(other, 30, 33)], 3, Scratch()), joined, 3)


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
    for block in shared_pairs(h, [Pairs(h, left, right)], Scratch()):
        m = np.minimum(h.m[left], h.m[right])[block.pairs]
        assert len(set(m.tolist())) == 1
        for place, pair in enumerate(block.pairs):
            gap = np.abs(block.rows[place] - block.reference[place % len(block.reference)]).max()
            one, other = (h.row(int(i)).at_m(int(m[0])) for i in (left[pair], right[pair]))
            dense = concatenate([one, other]).dense()[2].cumsum(axis=1) / 300
            assert gap == pytest.approx(np.abs(dense[0] - dense[1]).max())
        seen += block.pairs.tolist()
    assert sorted(seen) == list(range(39))


def test_a_far_row_is_compared_without_those_between(rng):
    h = concatenate([histogram_of(rng.standard_normal(100) + k, k) for k in range(500)])
    left, right = np.array([0, 499]), np.array([499, 0])
    (block,) = shared_pairs(h, [Pairs(h, left, right)], Scratch())
    np.testing.assert_array_equal(block.rows[::-1], block.reference)


def test_whole_numbers_are_points(labels):
    below, low, high = shared_bins([Span(labels([0, 3, 3], [5]), 0, 2)], WHOLE_NUMBERS, Scratch())
    assert low.tolist() == high.tolist() == [0, 3, 4, 5]
    np.testing.assert_allclose(below, [[0, 1 / 3, 1, 1, 1], [0, 0, 0, 0, 1]])
