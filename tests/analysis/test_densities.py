"""Shares between edges against numpy's histogram of the values."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from explorer.analysis.densities import SCALES, density, heat
from explorer.errors import UsageError
from explorer.storage.bins import WHOLE_NUMBERS, histogram_of

floats = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("shape", ["normal", "relu", "far from 0", "gradients"])
def test_shares_between_edges_are_those_of_the_values(shape, rng):
    normal = rng.standard_normal(50_000)
    values = {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "far from 0": 1 + 0.05 * normal,
        "gradients": normal * 10.0 ** rng.uniform(-4, 0, 50_000),
    }[shape]
    found = density(histogram_of(values))
    edges = np.append(found.low, found.high[-1])
    true = np.histogram(np.float32(values), edges)[0] / len(values)
    # Bins are cut by proportion: what a bin holds unevenly can land on the wrong side of an edge.
    np.testing.assert_allclose(found.share, true, atol=0.004)
    assert found.share.sum() == pytest.approx(1)
    assert (found.density * (found.high - found.low)).sum() == pytest.approx(1)


@settings(max_examples=80, deadline=None)
@given(st.lists(floats, min_size=1, max_size=40), st.lists(floats, min_size=2, max_size=9, unique=True))
def test_no_value_lands_further_than_its_bin(values, edges):
    edges = np.sort(edges)
    values = np.sort(np.float32(values).astype(float))
    found = density(histogram_of(values), edges).share * len(values)
    wide = np.abs(values) * 2.0**-3 + 2.4e-38  # at the coarsest, m = 3
    least = np.histogram(values + wide, edges)[0].clip(0)
    for share, low, high in zip(found, edges, edges[1:], strict=False):
        sure = np.count_nonzero((values - wide >= low) & (values + wide <= high))
        possible = np.count_nonzero((values + wide >= low) & (values - wide <= high))
        assert sure - 1e-9 <= share <= possible + 1e-9
    assert least.sum() <= len(values)


@settings(deadline=None)
@given(floats)
def test_equal_values_lie_in_one_interval(value):
    row = histogram_of([value] * 3)
    alone = density(row)
    assert alone.low.tolist() == alone.high.tolist() == [np.float32(value)]
    assert np.isinf(alone.density).all()
    edges = np.float32(value) + np.array([-2.0, -1.0, 0.5, 1.0])
    assert density(row, edges).share.tolist() == [0, 1, 0]


def test_edges_are_closed_below_and_the_last_one_also_above(rows):
    zeros = rows([0.0, 0.0])
    assert density(zeros, [-1, 0]).share.tolist() == [1]
    assert density(zeros, [-1, 0, 1]).share.tolist() == [0, 1]
    assert density(rows([1.0, 1.0, 3.0, 5.0]), [1, 3, 4]).share.tolist() == [0.5, 0.25]


def test_the_bins_themselves_end_at_minimum_and_maximum(rng):
    values = np.float32(np.abs(rng.standard_normal(5000)) + 0.3)
    row = histogram_of(values)
    found = density(row, m=3)
    folded = row.at_m(3)
    np.testing.assert_allclose(found.share, folded.counts / 5000)
    assert (found.low[0], found.high[-1]) == (values.min(), values.max())
    assert (found.low[1:] >= found.high[:-1]).all()
    with pytest.raises(UsageError, match="folded"):
        density(row.at_m(3), m=7)


def test_labels_are_drawn_as_the_numbers_they_are(labels):
    found = density(labels([0, 2, 2, 7]), m=WHOLE_NUMBERS)
    assert found.low.tolist() == found.high.tolist() == [0, 2, 7]
    assert found.share.tolist() == [0.25, 0.5, 0.25]
    assert density(labels([0, 2, 2, 7]), np.arange(-0.5, 8)).share.tolist() == [0.25, 0, 0.5, 0, 0, 0, 0, 0.25]


def test_a_row_without_finite_values_has_no_intervals():
    assert density(histogram_of([np.nan])).share.size == 0
    assert density(histogram_of([]), [0, 1, 2]).share.tolist() == [0, 0]


@pytest.mark.parametrize("scale", SCALES)
def test_each_column_of_a_heat_map_is_the_density_of_its_row(scale, rng, rows):
    tensors = [scale * rng.standard_normal(size) for scale, size in [(1, 300), (0.1, 50_000), (0.01, 4), (2, 70_000)]]
    h = rows(*tensors, [np.nan, 1.0], [])
    assert len(set(h.m.tolist())) > 1
    found = heat(h, 60, scale)
    assert found.share.shape == (len(found.edges) - 1, 6)
    assert found.share.dtype == np.float32
    for i in range(6):
        np.testing.assert_allclose(found.share[:, i], density(h.row(i), found.edges).share, atol=1e-6)
    np.testing.assert_allclose(found.share.sum(axis=0), [1, 1, 1, 1, 1, 0], rtol=1e-5)
    assert found.edges[0] == h.min[:4].min()
    assert found.edges[-1] == h.max[:4].max()


def test_a_symmetric_logarithm_gives_each_decade_a_like_height(rows, rng):
    h = rows(*(rng.standard_normal(2000) * 10.0**-k for k in range(4)))
    found = heat(h, 100, "symlog")
    heights = np.sign(found.edges) * np.log1p(np.abs(found.edges) / found.linear_below)
    np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], rtol=1e-6)
    occupied = np.count_nonzero(found.share > 0.001, axis=0)
    assert occupied.min() > 10  # a linear scale leaves one interval to the narrowest row


def test_quantile_edges_hold_equal_shares_of_all_rows_together(rows, rng):
    h = rows(rng.standard_normal(5000), rng.standard_normal(500) + 3)
    found = heat(h, 25, "quantile")
    np.testing.assert_allclose(
        found.share.mean(axis=1), 1 / 25, atol=0.008
    )  # rows have unlike bins; they are pooled at the wider ones


def test_quantile_edges_are_the_quantiles_of_the_values_themselves(rows, rng):
    std = 0.2
    values = [rng.normal(1.0, std, 50_000), rng.normal(1.1, std, 50_000)]
    edges = heat(rows(*values).at_m(3), 40, "quantile").edges  # bins as wide as 0.6 standard deviations
    exact = np.quantile(np.concatenate(values).astype(np.float32), np.linspace(0, 1, 41))
    np.testing.assert_allclose(edges, exact, rtol=0, atol=0.02 * std)  # straight lines within bins: 0.08


def test_quantile_edges_within_limits_have_equal_shares_between_them(rows, rng):
    std = 0.1
    values = rng.normal(1.0, std, 50_000)
    edges = heat(rows(values).at_m(3), 20, "quantile", limits=(0.9, 1.3)).edges
    inside = values[(values >= 0.9) & (values <= 1.3)]
    exact = [0.9, *np.quantile(inside, np.linspace(0, 1, 21)[1:-1]), 1.3]
    np.testing.assert_allclose(edges, exact, rtol=0, atol=0.12 * std)  # straight lines within bins: 0.3


def test_a_spike_leaves_fewer_quantile_edges(rows):
    found = heat(rows([0.0] * 90 + [1.0] * 10), 50, "quantile")
    assert len(found.edges) < 51
    assert found.share.sum() == pytest.approx(1)


def test_limits_leave_out_what_is_beyond(rows, rng):
    values = rng.standard_normal(20_000)
    found = heat(rows(values), 40, limits=(-1, 0.5))
    assert found.share.sum() == pytest.approx(np.mean((values >= -1) & (values <= 0.5)), abs=0.003)


@pytest.mark.parametrize("scale", SCALES)
def test_constant_and_empty_tensors_have_a_picture(scale, rows):
    constant = heat(rows([2.0, 2.0], [2.0]), 10, scale)
    np.testing.assert_allclose(constant.share.sum(axis=0), 1)
    assert heat(rows([np.nan], []), 10, scale).share.sum() == 0
    assert heat(rows([0.0]).take([]), 10, scale).share.shape[1] == 0


def test_the_largest_numbers_there_are_make_no_overflow(rows):
    most = np.finfo(np.float32).max
    found = heat(rows([-most, 0.0, most]), 4)
    np.testing.assert_allclose(found.share.sum(), 1)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"num_bins": 0}, "1 to 500"),
        ({"num_bins": 501}, "1 to 500"),
        ({"scale": "log"}, "linear, symlog, quantile"),
        ({"limits": (1.0, 1.0)}, "below the second"),
        ({"limits": (0.0, np.inf)}, "finite"),
    ],
)
def test_a_wrong_argument_of_a_heat_map_is_named(wrong, reason, rows):
    with pytest.raises(ValueError, match=reason):
        heat(rows([1.0, 2.0]), **wrong)


def test_a_wrong_argument_of_a_density_is_named(rows):
    with pytest.raises(ValueError, match="one row"):
        density(rows([1.0], [2.0]))
    with pytest.raises(ValueError, match="ascending"):
        density(rows([1.0]), [1, 1])
    with pytest.raises(ValueError, match="not both"):
        density(rows([1.0]), [1, 2], m=3)


@pytest.mark.parametrize("scale", ["linear", "symlog", "quantile"])
def test_counts_of_32_bits_have_the_heat_map_of_those_of_64(two_widths, scale):
    wide, narrow = (heat(h, 50, scale) for h in two_widths)
    for one, other in zip(wide, narrow, strict=True):
        np.testing.assert_array_equal(one, other)
