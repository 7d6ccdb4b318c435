"""Several histograms on one axis of values: the same intervals, exact zeros apart, shares as NumPy counts them."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.analysis.densities import SCALES, Scale
from explorer.analysis.shared_axis import shared_axis
from explorer.storage.bins import Histograms, concatenate, histogram_of


def history(seed: int, num: int, scale: float = 1.0, zeros: float = 0.0) -> tuple[Histograms, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    rows = [random.normal(k / num, scale, 5_000) * (random.random(5_000) >= zeros) for k in range(num)]
    rows = [row.astype(np.float32) for row in rows]
    return concatenate([histogram_of(row, step) for step, row in enumerate(rows)]), rows


@pytest.mark.parametrize("scale", SCALES)
def test_shares_are_what_numpy_counts_between_the_same_edges(scale: Scale) -> None:
    (a, values), (b, others) = history(0, 3), history(1, 2, 0.2)
    found = shared_axis([a, b], 40, scale)
    assert len(found.edges) - 1 <= 40
    for shares, rows in ((found.shares[0], values), (found.shares[1], others)):
        for k, row in enumerate(rows):
            counted = np.histogram(row, found.edges)[0] / len(row)
            np.testing.assert_allclose(shares[:, k], counted, atol=0.02)


def test_zeros_are_counted_apart_and_leave_no_trace_in_their_interval() -> None:
    rows, values = history(0, 2, zeros=0.6)
    found = shared_axis([rows], 40, "linear")
    expected = [float((row == 0).mean()) for row in values]
    assert found.zeros[0].tolist() == pytest.approx(expected)
    assert found.zero is not None
    assert found.edges[found.zero] <= 0 < found.edges[found.zero + 1]
    assert found.shares[0][found.zero].max() < 0.05
    only = shared_axis([histogram_of(np.zeros(10))], 40, "linear")
    assert only.shares[0].max() == 0


def test_without_zero_in_reach_no_interval_holds_it() -> None:
    assert shared_axis([histogram_of([1.0, 2.0])], 20, "linear").zero is None


def test_many_intervals_are_a_multiple_of_twenty_even_where_values_repeat() -> None:
    values = np.concatenate([np.zeros(3_000), np.full(1_000, 0.5), np.random.default_rng(0).normal(0, 1, 4_000)])
    found = shared_axis([histogram_of(values)], 240, "quantile")
    assert (len(found.edges) - 1) % 20 == 0
    assert found.shares[0].sum() + found.zeros[0][0] == pytest.approx(1.0, abs=1e-4)
    assert (np.diff(found.edges) > 0).all()


def test_rows_without_a_finite_value_are_empty_columns() -> None:
    rows = concatenate([histogram_of([np.nan, np.inf], 0), histogram_of([1.0, 3.0], 1)])
    found = shared_axis([rows], 20, "linear")
    assert np.isnan(found.zeros[0][0])
    assert found.shares[0][:, 0].max() == 0
    assert found.shares[0][:, 1].sum() == pytest.approx(1.0)
