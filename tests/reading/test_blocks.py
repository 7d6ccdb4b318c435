import numpy as np
import pytest

from explorer.reading.blocks import BLOCK, Blocks


def awkward_values(count, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 50, count).astype(np.float64)  # many ties
    y[rng.random(count) < 0.05] = np.nan
    y[rng.random(count) < 0.02] = np.inf
    y[rng.random(count) < 0.02] = -np.inf
    y[count // 3 : count // 3 + 400] = np.nan
    return y


def by_hand(y, start, end):
    finite = [row for row in range(start, end) if np.isfinite(y[row])]
    if not finite:
        return -1, -1
    return min(finite, key=lambda row: (y[row], row)), min(finite, key=lambda row: (-y[row], row))


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000, 5000, 64 * 64 + 5, 40_000])
def test_extremes_of_any_ranges_are_those_found_by_hand(count):
    y = awkward_values(count, seed=count)
    rng = np.random.default_rng(1)
    starts = rng.integers(0, count, 60)
    ends = np.array([rng.integers(start + 1, min(count, start + rng.choice([2, 100, 50_000])) + 1) for start in starts])
    low, high = Blocks.of(y).extremes(y, starts, ends)
    expected = [by_hand(y, start, end) for start, end in zip(starts, ends, strict=True)]
    assert [tuple(found) for found in np.stack([low, high], axis=1)] == expected


def test_growing_blocks_are_those_of_the_whole():
    y = awkward_values(30_000, seed=3)
    grown = None
    for end in (10, 64, 1000, 1000, 4096, 20_011, 30_000):
        grown = Blocks.of(y[:end], grown)
    whole = Blocks.of(y)
    assert len(grown) == len(whole) == 30_000 // BLOCK * BLOCK
    assert np.array_equal(grown.finite, whole.finite)
    for ours, theirs in zip(grown.levels, whole.levels, strict=True):
        assert np.array_equal(ours.low, theirs.low)
        assert np.array_equal(ours.high, theirs.high)


def test_blocks_of_a_beginning_serve_the_longer_series():
    y = awkward_values(9_000, seed=4)
    starts, ends = np.array([0, 100]), np.array([9_000, 8_999])
    low, high = Blocks.of(y[:8_970]).extremes(y, starts, ends)
    assert [(low[i], high[i]) for i in range(2)] == [by_hand(y, 0, 9_000), by_hand(y, 100, 8_999)]


def test_only_blocks_with_a_value_that_is_not_finite_are_suspect():
    y = np.zeros(64 * 100)
    y[700] = np.nan
    rows = Blocks.of(y).suspect_rows(10, 6_000)
    assert 700 in rows
    assert len(rows) < 64 * 4
    assert Blocks.of(np.full(6_400, np.nan)).suspect_rows(0, 6_400) is None
