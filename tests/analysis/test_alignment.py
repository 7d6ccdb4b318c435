"""The mean over runs with unequal steps, against pandas and by hand."""

import numpy as np
import pandas as pd
import pytest

from explorer.analysis.alignment import group_mean


def by_pandas(members):
    """Interpolate every run on the union of all steps, inside its own range only."""
    columns = [pd.Series(y, index=pd.Index(x, dtype=float)).dropna() for x, y in members]
    table = pd.concat(columns, axis=1).sort_index()
    return table.interpolate(method="index", limit_area="inside")


def test_runs_with_equal_steps_give_the_plain_mean_and_spread():
    rng = np.random.default_rng(0)
    x = np.arange(0, 500, 5)
    values = rng.standard_normal((4, x.size)) + 1e6
    out = group_mean([(x, row) for row in values])
    np.testing.assert_array_equal(out.x, x)
    np.testing.assert_allclose(out.mean, values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(out.std, values.std(0, ddof=1), rtol=1e-6)
    assert set(out.num) == {4}


def test_unequal_steps_lengths_and_nan_give_what_pandas_interpolates():
    rng = np.random.default_rng(1)
    members = []
    for length in (50, 80, 33):
        x = np.sort(rng.choice(1000, length, replace=False)).astype(float)
        y = rng.standard_normal(length)
        y[rng.integers(0, length, 3)] = np.nan
        members.append((x, y))
    out = group_mean(members)
    table = by_pandas(members)
    np.testing.assert_allclose(out.x, table.index)
    np.testing.assert_allclose(out.mean, table.mean(axis=1))
    np.testing.assert_array_equal(out.num, table.count(axis=1))
    np.testing.assert_allclose(out.std, table.std(axis=1).fillna(0.0), atol=1e-12)


def test_a_run_that_ended_no_longer_counts():
    out = group_mean([([0, 10, 20], [1.0, 1.0, 1.0]), ([0, 10], [3.0, 3.0])])
    assert out.mean.tolist() == [2.0, 2.0, 1.0]
    assert out.num.tolist() == [2, 2, 1]
    assert out.std[2] == 0


def test_the_last_of_several_values_at_one_x_counts():
    assert group_mean([([1, 1, 2], [9.0, 4.0, 6.0])]).mean.tolist() == [4.0, 6.0]


@pytest.mark.parametrize("members", [[], [([], [])], [([1, 2], [np.nan, np.inf])]])
def test_nothing_finite_gives_nothing(members):
    assert group_mean(members).x.size == 0
