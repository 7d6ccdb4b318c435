"""Steps on an axis of pixels: each column shows the samples it should, and none is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from explorer.charts.step_axis import largest, pixel_columns, sample_edges


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60, unique=True))
def test_every_sample_is_inside_its_own_cell(steps: list[int]) -> None:
    step = np.array(sorted(steps))
    edges = sample_edges(step)
    assert len(edges) == len(step) + 1
    assert (edges[:-1] <= step).all()
    assert (step <= edges[1:]).all()


def test_a_column_far_from_the_next_sample_shows_the_nearest_one() -> None:
    edges = sample_edges(np.array([0, 10, 100]))
    first, last = pixel_columns(edges, 0, 100, 100)
    assert (last - first == 1).all()
    nearest = [int(np.argmin(abs(np.array([0, 10, 100]) - x))) for x in np.arange(100) + 0.5]
    assert first.tolist() == nearest


@pytest.mark.parametrize("num", [7, 100, 999])
def test_of_many_samples_each_is_in_one_column(num: int) -> None:
    edges = sample_edges(np.sort(np.random.default_rng(0).choice(10**6, 5_000, replace=False)))
    first, last = pixel_columns(edges, edges[0], edges[-1], num)
    covered = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    assert set(covered.tolist()) == set(range(5_000))


def test_columns_outside_of_all_samples_show_nothing() -> None:
    first, last = pixel_columns(sample_edges(np.array([10, 20])), 0, 100, 20)
    shown = (last > first).nonzero()[0]
    assert shown.tolist() == [1, 2, 3, 4]  # 5 to 25 of 5-step columns


def test_a_column_is_the_largest_of_its_samples() -> None:
    matrix = np.random.default_rng(1).random((4, 50)).astype(np.float32)
    first, last = np.array([0, 3, 3, 40, 20]), np.array([3, 3, 20, 50, 21])
    found = largest(matrix, first, last)
    assert np.array_equal(found[:, 0], matrix[:, :3].max(axis=1))
    assert (found[:, 1] == 0).all()
    assert np.array_equal(found[:, 2], matrix[:, 3:20].max(axis=1))
    assert np.array_equal(found[:, 3], matrix[:, 40:].max(axis=1))
    assert np.array_equal(found[:, 4], matrix[:, 20])
