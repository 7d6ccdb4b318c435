import numpy as np
import pandas as pd
import pytest

from explorer.reading.blocks import Blocks
from explorer.reading.downsample import column_edges, envelope, m4, marks

WIDTH, HEIGHT = 40, 37


def pixels(x, y, lo, hi, low, high):
    """Every pixel that the line through all points covers, found by walking along each of its pieces."""
    covered = np.zeros((WIDTH, HEIGHT), bool)
    at = (np.asarray(x, float) - lo) / (hi - lo) * WIDTH
    up = (np.asarray(y, float) - low) / (high - low) * HEIGHT
    for x1, y1, x2, y2 in zip(at, up, at[1:], up[1:], strict=False):
        if not (np.isfinite(y1) and np.isfinite(y2)):
            continue
        for column in range(max(int(np.floor(x1)), 0), min(int(np.floor(x2)), WIDTH - 1) + 1):
            left, right = max(x1, column), min(x2, column + 1)
            if right < left:
                continue
            ends = [y1, y2] if x1 == x2 else [y1 + (y2 - y1) * (each - x1) / (x2 - x1) for each in (left, right)]
            first, last = sorted(int(np.clip(np.floor(each), 0, HEIGHT - 1)) for each in ends)
            covered[column, first : last + 1] = True
    return covered


def spiky(count, seed=0):
    rng = np.random.default_rng(seed)
    y = np.exp(-np.arange(count) / count) + rng.normal(0, 0.05, count)
    y[rng.integers(0, count, 5)] += rng.choice([-2, 3], 5)
    return y


def uneven(count, seed=0):
    return np.cumsum(np.random.default_rng(seed).integers(1, 30, count))


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.3, 0.7), (0.61, 0.615), (-0.5, 1.5)])
@pytest.mark.parametrize("as_float", [False, True])
@pytest.mark.parametrize("count", [2, 37, 900, 20_000])
def test_m4_covers_the_same_pixels_as_the_line_through_all_points(window, as_float, count):
    x, y = uneven(count), spiky(count)
    x = x.astype(np.float64) / 7 if as_float else x
    lo, hi = (float(x[0] + part * (x[-1] - x[0])) for part in window)
    rows = m4(x, y, lo, hi, WIDTH)
    low, high = y.min() - 0.1, y.max() + 0.1
    assert (pixels(x, y, lo, hi, low, high) == pixels(x[rows], y[rows], lo, hi, low, high)).all()
    assert len(rows) <= 4 * WIDTH + 2
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.123, 0.9), (0.5, 0.51)])
def test_blocks_change_nothing_but_the_time(window):
    x, y = uneven(200_000), spiky(200_000)
    y[50_000:60_000] = np.nan
    lo, hi = (float(x[0] + part * (x[-1] - x[0])) for part in window)
    blocks = Blocks.of(y)
    assert np.array_equal(m4(x, y, lo, hi, 300, blocks=blocks), m4(x, y, lo, hi, 300))
    for ours, theirs in zip(envelope(x, y, lo, hi, 300, blocks=blocks), envelope(x, y, lo, hi, 300), strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)
    assert np.array_equal(marks(x, y, lo, hi, 300, blocks=blocks).row, marks(x, y, lo, hi, 300).row)


def test_one_spike_in_a_million_points_is_kept():
    y = np.zeros(1_000_000)
    y[345_678] = 1
    assert 345_678 in m4(np.arange(1_000_000), y, 0, 999_999, 1_000)
    assert envelope(np.arange(1_000_000), y, 0, 999_999, 500).high.max() == 1


def test_a_window_brings_its_neighbours_so_that_the_line_reaches_the_edges():
    x = np.arange(0, 1000, 10)
    assert m4(x, x.astype(float), 305, 325, 100).tolist() == [30, 31, 32, 33]
    assert m4(x, x.astype(float), 301, 302, 100).tolist() == [30, 31]


@pytest.mark.parametrize("log_x", [False, True])
def test_column_edges_follow_the_formula_of_a_pixel(log_x):
    x = np.unique(np.random.default_rng(0).integers(1, 5_000, 3_000))
    lo, hi, num_px = 7, 4_100, 41
    edges = column_edges(x, lo, hi, num_px, log_x=log_x)
    inside = x[(x >= lo) & (x <= hi)]
    part = np.log(inside / lo) / np.log(hi / lo) if log_x else (inside - lo) / (hi - lo)
    expected = np.minimum(np.floor(part * num_px), num_px - 1)
    first = int(edges[0])
    found = np.repeat(np.arange(num_px), np.diff(edges))
    assert first == np.searchsorted(x, lo)
    assert found.tolist() == expected.tolist()


def test_a_point_on_the_right_edge_belongs_to_the_last_column():
    assert column_edges(np.arange(11), 0, 10, 5).tolist() == [0, 2, 4, 6, 8, 11]


def test_an_empty_window_and_an_empty_series_give_nothing():
    x = np.array([0, 100])
    y = np.array([1.0, 2.0])
    assert len(envelope(x, y, 10, 20, 5).x) == 0
    assert m4(x, y, 10, 20, 5).tolist() == [0, 1]
    assert len(m4(x[:0], y[:0], 0, 1, 5)) == 0
    assert len(marks(x[:0], y[:0], 0, 1, 5).row) == 0


def test_a_single_point_and_a_window_of_no_width():
    x, y = np.array([5]), np.array([1.5])
    assert m4(x, y, 5, 5, 10).tolist() == [0]
    assert envelope(x, y, 5, 5, 10).last.tolist() == [1.5]


def test_the_envelope_is_what_pandas_groups():
    x, y = np.arange(10_000), spiky(10_000)
    y[17] = np.nan
    y[4_000:4_100] = np.inf
    found = envelope(x, y, 0, 9_999, 64)
    column = np.minimum(x / 9_999 * 64, 63).astype(int)
    grouped = pd.DataFrame({"y": np.where(np.isfinite(y), y, np.nan), "x": x}).groupby(column)
    assert np.array_equal(found.low, grouped.y.min())
    assert np.array_equal(found.high, grouped.y.max())
    assert np.array_equal(found.last, grouped.y.last())
    assert np.array_equal(found.x, grouped.x.last())
    assert np.array_equal(found.num_points, grouped.x.count())


def test_a_column_without_a_finite_value_has_no_extremes():
    y = np.arange(1_000.0)
    y[500:] = np.nan
    found = envelope(np.arange(1_000), y, 0, 999, 2)
    assert found.low.tolist()[0] == 0
    assert np.isnan([found.low[1], found.high[1], found.last[1]]).all()


def test_a_gap_of_nan_stays_a_gap_and_loses_no_point_beside_it():
    x, y = np.arange(100_000), spiky(100_000)
    y[40_000:60_000] = np.nan
    rows = m4(x, y, 0, 99_999, 100)
    assert {39_999, 60_000} <= set(rows.tolist())
    between = rows[(rows > 39_999) & (rows < 60_000)]
    assert len(between)
    assert np.isnan(y[between]).all()


def test_infinities_are_never_extremes():
    y = spiky(50_000)
    y[[100, 30_000]] = np.inf, -np.inf
    found = envelope(np.arange(50_000), y, 0, 49_999, 10)
    assert np.isfinite(found.low).all()
    assert np.isfinite(found.high).all()


def test_marks_tell_where_values_are_not_finite_and_how_many():
    y = np.zeros(1_000)
    y[[10, 11, 900]] = np.nan
    y[[12, 13]] = np.inf, -np.inf
    found = marks(np.arange(1_000), y, 0, 999, 10)
    assert found.row.tolist() == [10, 12, 13, 900]
    assert found.kind == ["NaN", "Infinity", "-Infinity", "NaN"]
    assert found.num_points.tolist() == [2, 1, 1, 1]


def test_steps_beyond_two_to_the_53_keep_their_order():
    x = np.arange(10_000, dtype=np.int64) + 2**60
    rows = m4(x, spiky(10_000), float(x[0]), float(x[-1]) + 1024, 50)
    assert rows[0] == 0
    assert rows[-1] == 9_999
    assert len(rows) <= 202
