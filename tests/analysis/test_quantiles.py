"""Quantiles of histograms against numpy's of the values."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.interpolate import PchipInterpolator

from explorer.analysis.quantiles import (
    bin_bounds,
    clipped_bounds,
    finite_counts,
    histogram_quantiles,
    order_statistics,
)
from explorer.storage.bins import bin_edges, histogram_of

Q = np.array([0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1])
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_within_the_bins_of_its_neighbours(values, q):
    row = histogram_of(values)
    ordered = np.sort(np.asarray(values, np.float32).astype(float))
    place = q * (len(ordered) - 1)
    near = ordered[[int(np.floor(place)), int(np.ceil(place))]]
    # A bin is 2^-m of its value wide; values below the smallest normal float32 share bin 0 with zero.
    wide = np.abs(near) * 2.0 ** -int(row.m[0]) + 2.4e-38
    found = histogram_quantiles(row, q)[0, 0]
    assert near[0] - wide[0] <= found <= near[1] + wide[1]


@pytest.mark.parametrize("shape", ["normal", "far from 0", "sparse", "heavy", "one sign"])
def test_quantiles_of_a_large_tensor_are_those_of_numpy(shape, rng):
    normal = rng.standard_normal(50_000)
    values = {
        "normal": normal,
        "far from 0": 1 + 0.05 * normal,
        "sparse": np.where(rng.random(50_000) < 0.9, 0, normal),
        "heavy": rng.standard_t(3, 50_000),
        "one sign": np.abs(normal),
    }[shape].astype(np.float32)
    found = histogram_quantiles(histogram_of(values), Q)[0]
    np.testing.assert_allclose(found, np.quantile(values.astype(float), Q), atol=0.03 * values.std(), rtol=0.02)


SHAPES = {
    "normal": lambda rng, z: z,
    "normal x 1.05": lambda rng, z: 1.05 * z,
    "heavy tails": lambda rng, z: rng.standard_t(3, len(z)),
    "90 % zeros": lambda rng, z: np.where(rng.random(len(z)) < 0.9, 0, z),
    "int8 levels": lambda rng, z: np.clip(np.round(z * 32), -127, 127) / 32,
    "uniform": lambda rng, z: rng.uniform(-0.03, 0.03, len(z)),
    "N(1, .05)": lambda rng, z: 1 + 0.05 * z,
    "N(1.02, .05)": lambda rng, z: 1.02 + 0.05 * z,
    "N(1, .01)": lambda rng, z: 1 + 0.01 * z,
    "N(1.003, .01)": lambda rng, z: 1.003 + 0.01 * z,
    "ReLU": lambda rng, z: np.maximum(z, 0),
    "two humps": lambda rng, z: np.where(rng.random(len(z)) < 0.5, 0.1 + 0.01 * z, -0.2 + 0.03 * z),
}
LEVELS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999]


@pytest.mark.parametrize("n", [50_000, 1_000_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_are_within_a_tenth_of_a_standard_deviation(shape, n, rng):
    values = SHAPES[shape](rng, rng.standard_normal(n)).astype(np.float32)
    found = histogram_quantiles(histogram_of(values), [0, *LEVELS, 1])[0]
    truth = np.quantile(values.astype(float), LEVELS)
    assert np.abs(found[1:-1] - truth).max() < 0.1 * values.std()
    assert (found[0], found[-1]) == (values.min(), values.max())
    assert (np.diff(found) >= 0).all()


def test_few_wide_bins_are_told_four_times_better_than_evenly(rng):
    values = (2 + 0.01 * rng.standard_normal(1_000_000)).astype(np.float32)  # a bin is 1.6 standard deviations wide
    row = histogram_of(values)
    found, truth = histogram_quantiles(row, LEVELS)[0], np.quantile(values.astype(float), LEVELS)
    low, high = (np.clip(end, values.min(), values.max()) for end in bin_bounds(row.bins, int(row.m[0])))
    evenly = np.interp(LEVELS, [0, *np.cumsum(row.counts) / row.n], [low[0], *high])
    assert np.abs(found - truth).max() < 0.5 * np.abs(evenly - truth).max()


def test_the_values_of_neighbouring_bins_lie_on_the_cubic_of_scipy(rng):
    values = 1.5 + 0.1 * rng.standard_normal(20_000)
    row = histogram_of(values[np.abs(values - 1.5) < 0.2].astype(np.float32))
    low, high = clipped_bounds(row)
    assert (low[1:] == high[:-1]).all()
    below = np.concatenate([[0], np.cumsum(row.counts)])
    curve = PchipInterpolator(np.append(low, high[-1]), below)
    rank = np.arange(1, row.n[0] - 1, 97)
    np.testing.assert_allclose(curve(order_statistics(row, rank[None, :])[0]), rank + 0.5, rtol=1e-6)


def test_ends_and_zeros_are_exact(rng):
    values = np.where(rng.random(999) < 0.5, 0, rng.standard_normal(999)).astype(np.float32)
    low, middle, high = histogram_quantiles(histogram_of(values), [0, 0.5, 1])[0]
    assert (low, middle, high) == (values.min(), 0.0, values.max())


@given(floats)
def test_a_row_of_equal_values_has_that_quantile(value):
    assert (histogram_quantiles(histogram_of([value] * 5), Q) == np.float32(value)).all()
    assert (histogram_quantiles(histogram_of([value]), Q) == np.float32(value)).all()


def test_values_that_are_not_finite_do_not_count():
    row = histogram_of([np.nan, 1.0, np.inf, 3.0, -np.inf])
    assert histogram_quantiles(row, [0, 1]).tolist() == [[1.0, 3.0]]
    assert finite_counts(row).tolist() == [2]


def test_rows_without_finite_values_stand_between_others(rows):
    h = rows([np.nan, np.inf], [1.0, 2.0], [], [4.0], [np.nan])
    found = histogram_quantiles(h, [0.0, 1.0])
    np.testing.assert_array_equal(found, [[np.nan] * 2, [1, 2], [np.nan] * 2, [4, 4], [np.nan] * 2])
    assert histogram_quantiles(h.take([]), Q).shape == (0, len(Q))
    assert np.isnan(histogram_quantiles(h.take([0, 2]), Q)).all()


def test_rows_keep_their_own_mantissa_bits(rows, rng):
    many, few = rng.standard_normal(100_000), 1 + 0.01 * rng.standard_normal(1000)
    h = rows(many, few)
    assert len(set(h.m.tolist())) == 2
    alone = np.concatenate([histogram_quantiles(h.row(i), Q) for i in range(2)])
    np.testing.assert_array_equal(histogram_quantiles(h, Q), alone)


def test_whole_numbers_are_themselves(labels):
    assert histogram_quantiles(labels([0, 3, 3, 9, -2]), [0, 0.25, 0.5, 1]).tolist() == [[-2, 0, 3, 9]]


def test_bounds_hold_the_values_they_stand_for(rng):
    values = np.concatenate([rng.standard_normal(500) * 10.0 ** rng.integers(-30, 30, 500), [3.4028234e38, -1e-42, 0]])
    values = np.sort(values.astype(np.float32))
    row = histogram_of(values)
    low, high = bin_bounds(row.bins, int(row.m[0]))
    low, high = np.repeat(low, row.counts), np.repeat(high, row.counts)
    inside = (low - 2.4e-38 <= values) & (values <= high + 2.4e-38)
    assert inside.all()


@pytest.mark.parametrize("q", [-0.1, 1.1, np.nan])
def test_a_probability_that_is_none_is_refused(q):
    with pytest.raises(ValueError, match="from 0 to 1"):
        histogram_quantiles(histogram_of([1.0]), q)


def test_counts_of_32_bits_have_the_quantiles_of_those_of_64(two_widths):
    wide, narrow = two_widths
    np.testing.assert_array_equal(finite_counts(narrow), finite_counts(wide))
    np.testing.assert_array_equal(finite_counts(narrow, 3, 7), finite_counts(wide)[3:7])
    np.testing.assert_array_equal(histogram_quantiles(narrow, Q), histogram_quantiles(wide, Q))


@pytest.mark.parametrize("m", range(3, 8))
def test_the_ends_of_bins_are_those_of_the_edges(m):
    edges = bin_edges(m)
    last = (255 << m) - 1
    for m_of in (m, np.full(2 * last + 1, m, np.int8)):
        low, high = bin_bounds(np.arange(-last, last + 1).astype(np.int16), m_of)
        assert low[last] == high[last] == 0
        for lower, upper in ((low, high), (-high[::-1], -low[::-1])):
            np.testing.assert_array_equal(lower[last + 1 :], edges[1:-1])
            np.testing.assert_array_equal(upper[last + 1 :], edges[2:])
