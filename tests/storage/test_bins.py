"""Bins: the same edges for everybody, exact folding, and histograms that never change."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from explorer.errors import UsageError
from explorer.storage.bins import (
    MAX_BINS,
    Histograms,
    bin_edges,
    concatenate,
    fold,
    fold_counts,
    fold_keys,
    histogram_of,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def counts_of(values):
    keys = np.asarray(values, np.float32).view(np.uint32) >> 16
    return np.bincount(keys, minlength=1 << 16).astype(np.int64)


def interval(b, m):
    """Where bin b lies, by the definition in the documents: its lower and its upper edge."""
    edges = [struct_float(key << (23 - m)) for key in (abs(b), abs(b) + 1)]
    return edges if b >= 0 else [-edges[1], -edges[0]]


def struct_float(bits):
    return float(np.array([bits], np.uint32).view(np.float32)[0])


@pytest.mark.parametrize("m", [3, 4, 5, 6, 7])
def test_edges_ascend_from_zero_over_one_to_the_largest_float32(m):
    edges = bin_edges(m)
    assert edges.dtype == np.float64
    assert len(edges) == (255 << m) + 1
    assert (np.diff(edges) > 0).all()
    assert edges[0] == 0
    assert edges[127 << m] == 1
    assert edges[(127 << m) + 1] == 1 + 2.0**-m
    assert edges[-1] == np.finfo(np.float32).max


@pytest.mark.parametrize("m", [-1, 2, 8])
def test_other_numbers_of_mantissa_bits_are_refused(m):
    with pytest.raises(UsageError, match="3 to 7"):
        bin_edges(m)


@given(st.lists(FLOATS, min_size=1, max_size=50), st.integers(3, 7))
@settings(deadline=None, max_examples=200)
def test_every_finite_value_lies_within_its_bin(values, m):
    h = histogram_of(values).at_m(m)
    assert h.counts.sum() == len(values)
    for b, count in zip(h.bins.tolist(), h.counts.tolist(), strict=True):
        low, high = interval(b, m)
        if b > 0:
            inside = sum(low <= np.float32(v) < high for v in values)
        elif b < 0:
            inside = sum(low < np.float32(v) <= high for v in values)
        else:
            inside = sum(abs(np.float32(v)) < high for v in values)
        assert inside == count


def test_numpys_histogram_over_our_edges_gives_the_same_counts():
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    h = histogram_of(values)
    m, low, table = h.dense()
    edges = bin_edges(m)
    everything = np.concatenate([-edges[:0:-1], edges[1:]])  # zero lies within a bin of its own
    found, _ = np.histogram(values.astype(np.float64), everything)
    centre = len(edges) - 2
    assert np.array_equal(found[centre + low : centre + low + table.shape[1]], table[0])
    assert found.sum() == table.sum()


def test_both_zeros_and_the_smallest_numbers_share_the_bin_zero():
    h = histogram_of([0.0, -0.0, 1e-45, -1e-45])
    assert (h.bins.tolist(), h.counts.tolist(), h.zeros.tolist()) == ([0], [4], [2])


def test_the_largest_numbers_are_in_the_outermost_bins():
    largest = np.finfo(np.float32).max
    h = histogram_of([largest, -largest])
    assert h.bins.tolist() == [-(255 << 7) + 1, (255 << 7) - 1]


def test_nan_and_infinities_are_counted_apart():
    h = histogram_of([1.0, math.nan, math.inf, -math.inf, 0.0])
    assert (h.n[0], h.nans[0], h.infs[0], h.zeros[0], h.counts.sum()) == (5, 1, 2, 1, 2)
    assert (h.mean[0], h.min[0], h.max[0]) == (0.5, 0.0, 1.0)
    assert fold_counts(counts_of([math.nan, math.inf, -math.inf]))[1].tolist() == []


@pytest.mark.parametrize(("scale", "expected_m"), [(np.linspace(1, 1.5, 4_000), 7), (np.geomspace(1, 1e3, 400_000), 5)])
def test_the_finest_mantissa_with_at_most_512_bins_is_taken(scale, expected_m):
    m, bins, _ = fold_counts(counts_of(scale))
    assert m == expected_m
    assert len(bins) <= MAX_BINS
    if m < 7:
        assert len(np.unique(np.asarray(scale, np.float32).view(np.uint32) >> (23 - m - 1))) > MAX_BINS


def test_at_the_coarsest_mantissa_more_than_512_bins_are_kept():
    every = np.ones(1 << 16, np.int64)
    m, bins, counts = fold_counts(every)
    assert m == 3
    assert len(bins) == 2 * (255 << 3) - 1
    assert counts.sum() == 2 * (255 << 7)


@given(st.lists(FLOATS, max_size=300), st.integers(3, 7), st.integers(3, 7))
@settings(deadline=None, max_examples=200)
def test_folding_twice_is_folding_once_and_equals_counting_coarsely(values, one, other):
    high, low = max(one, other), min(one, other)
    keys, counts = np.unique(np.asarray(values, np.float32).view(np.uint32) >> 16, return_counts=True)
    m, bins, kept = fold_keys(keys, counts)
    assert m == 7
    twice = fold(*fold(bins, kept, m, high), high, low)
    once = fold(bins, kept, m, low)
    coarse = [np.sign(b) * (abs(b) >> (7 - low)) for b in np.repeat(bins.astype(int), kept)]
    expected = np.unique(coarse, return_counts=True)
    for pair in (twice, once):
        assert [part.tolist() for part in pair] == [part.tolist() for part in expected]


def test_folding_to_more_mantissa_bits_is_refused():
    with pytest.raises(UsageError, match="folded to fewer"):
        fold(np.array([1], np.int16), np.array([1]), 3, 4)


@pytest.fixture
def rows():
    """Rows with different mantissa bits, an empty one among them."""
    chance = np.random.default_rng(1)
    arrays = [
        chance.normal(size=20_000),
        [],
        [math.nan],
        chance.uniform(1, 1.01, 500),
        np.zeros(7),
        -(chance.normal(size=90_000) ** 9),
    ]
    return arrays, concatenate([histogram_of(values, step) for step, values in enumerate(arrays)])


def test_rows_are_taken_one_by_one_by_index_and_by_mask(rows):
    arrays, h = rows
    assert len(h) == len(arrays)
    assert len(set(h.m.tolist())) > 1
    for i, values in enumerate(arrays):
        for one in (h.row(i), h.row(i - len(arrays)), h.take([i]), h.take(np.arange(len(h)) == i)):
            alone = histogram_of(values, i)
            assert one.step.tolist() == [i]
            assert one.m.tolist() == alone.m.tolist()
            assert np.array_equal(one.bins, alone.bins)
            assert np.array_equal(one.counts, alone.counts)
            assert np.array_equal(one.mean, alone.mean, equal_nan=True)
    assert h.take([4, 0, 4]).step.tolist() == [4, 0, 4]
    assert len(h.take([])) == 0
    with pytest.raises(IndexError):
        h.row(len(arrays))


@pytest.mark.parametrize("m", [3, None])
def test_all_rows_together_fold_as_each_alone(rows, m):
    arrays, h = rows
    m = int(h.m.min()) if m is None else m
    together = h.at_m(m)
    assert together.m.tolist() == [m] * len(h)
    for i, values in enumerate(arrays):
        alone = histogram_of(values)
        bins, counts = fold(alone.bins, alone.counts, int(alone.m[0]), m)
        assert np.array_equal(together.row(i).bins, bins)
        assert np.array_equal(together.row(i).counts, counts)
    with pytest.raises(UsageError, match="cannot be folded"):
        h.at_m(7)


def test_the_dense_table_holds_every_count_at_its_bin(rows):
    _, h = rows
    m, low, table = h.dense()
    same = h.at_m(m)
    assert table.sum() == h.counts.sum()
    for i in range(len(h)):
        row = same.row(i)
        assert np.array_equal(table[i, row.bins.astype(int) - low], row.counts)
    assert histogram_of([math.nan]).dense()[2].shape == (1, 0)


def test_moments_come_from_the_values():
    values = np.random.default_rng(2).normal(3, 1e-3, 10_000).astype(np.float32)
    h = histogram_of(values)
    assert h.mean[0] == values.mean(dtype=np.float64)
    assert h.std[0] == values.std(dtype=np.float64)
    assert np.isnan(histogram_of([]).mean[0])


def test_histograms_cannot_be_changed_and_leave_the_arrays_they_were_given_alone():
    counts = np.array([1, 2])
    given_arrays = {name: [0] for name in ("step", "zeros", "nans", "infs", "n", "mean", "std", "min", "max")}
    h = Histograms(m=[7], offsets=[0, 2], bins=[1, 2], counts=counts, **given_arrays)
    with pytest.raises(ValueError, match="read-only"):
        h.counts[0] = 5
    counts[0] = 1
    assert h.bins.dtype == np.int16


def test_neighbouring_rows_lie_where_they_lay(rows):
    _, h = rows
    for start, stop in ((0, len(h)), (3, 5), (2, 2)):
        some, taken = h.between(start, stop), h.take(range(start, stop))
        assert np.shares_memory(some.bins, h.bins) or start == stop
        for field in fields(Histograms):
            assert np.array_equal(getattr(some, field.name), getattr(taken, field.name), equal_nan=True)


def test_counts_of_32_bits_stay_so_and_are_the_same_numbers(rows):
    _, h = rows
    narrow = replace(h, counts=h.counts.astype(np.int32))
    assert narrow.counts.dtype == narrow.take([0, 3]).counts.dtype == np.int32
    assert narrow.num_bytes == h.num_bytes - 4 * len(h.counts)
    assert concatenate([narrow, h]).counts.dtype == np.int64
    assert np.array_equal(narrow.at_m(3).counts, h.at_m(3).counts)
    assert np.array_equal(narrow.dense()[2], h.dense()[2])


def test_counts_of_32_bits_are_summed_up_in_64():
    h = concatenate([histogram_of([1.0, 1.1, 1.2])] * 2).at_m(7)
    narrow = replace(h, counts=np.full(len(h.counts), 2**31 - 1, np.int32))
    assert narrow.at_m(3).counts.tolist() == [2 * (2**31 - 1), 2**31 - 1] * 2
    assert narrow.dense(3)[2].tolist() == [[2 * (2**31 - 1), 2**31 - 1]] * 2
