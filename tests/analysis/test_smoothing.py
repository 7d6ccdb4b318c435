"""The moving average against pandas, a formula by hand, and the things a training does to it."""

import time

import numpy as np
import pandas as pd
import pytest

from explorer.analysis.smoothing import ema, halflife_of, typical_gap


def by_pandas(x, values, halflife):
    times = pd.to_datetime(np.round(np.asarray(x) * 1e9).astype("int64"), unit="ns")
    series = pd.Series(values).ewm(halflife=pd.Timedelta(halflife, unit="s"), times=times)
    return series.mean().to_numpy()


def by_hand(x, values, halflife):
    out = []
    for i in range(len(x)):
        weights = [2.0 ** (-(x[i] - x[j]) / halflife) for j in range(i + 1)]
        out.append(sum(w * v for w, v in zip(weights, values[: i + 1], strict=True)) / sum(weights))
    return out


@pytest.mark.parametrize("halflife", [0.5, 3.0, 40.0, 5000.0])
def test_uneven_steps_give_what_pandas_gives(halflife):
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.integers(1, 50, 3000)).astype(float)
    values = rng.standard_normal(3000).cumsum()
    np.testing.assert_allclose(ema(x, values, halflife), by_pandas(x, values, halflife), rtol=1e-10, atol=1e-10)


def test_the_formula_by_hand_holds_with_repeated_steps():
    x = [0.0, 1.0, 1.0, 4.0, 4.5, 20.0]
    values = [3.0, -1.0, 2.0, 8.0, 0.5, 1.0]
    np.testing.assert_allclose(ema(x, values, 2.0), by_hand(x, values, 2.0), rtol=1e-13)


def test_even_steps_give_the_debiased_average_of_other_trackers():
    values = np.random.default_rng(0).standard_normal(200)
    last, debias, expected = 0.0, 0.0, []
    for value in values:
        last = last * 0.9 + 0.1 * value
        debias = debias * 0.9 + 0.1
        expected.append(last / debias)
    x = np.arange(200) * 25
    np.testing.assert_allclose(ema(x, values, halflife_of(0.9, typical_gap(x))), expected, rtol=1e-10)


def test_a_constant_stays_itself_from_the_first_value_on():
    assert ema(np.arange(50) ** 2, np.full(50, 7.5), 3.0) == pytest.approx(np.full(50, 7.5), rel=1e-12)


def test_values_that_are_not_finite_have_no_weight_and_stay():
    x = np.arange(6.0)
    values = np.array([1.0, np.nan, 3.0, np.inf, -np.inf, 5.0])
    out = ema(x, values, 1.5)
    finite = np.isfinite(values)
    np.testing.assert_allclose(out[finite], by_hand(x[finite], values[finite], 1.5), rtol=1e-13)
    np.testing.assert_array_equal(out[~finite], values[~finite])


def test_a_long_gap_forgets_the_past_without_an_overflow():
    out = ema([0.0, 1.0, 1e9], [1e200, 1e200, 1.0], 1.0)
    assert out[2] == pytest.approx(1.0)
    assert np.isfinite(out).all()


def test_the_largest_numbers_there_are_do_not_overflow():
    out = ema([0, 1, 2], [1.7e308, -1.7e308, 1.7e308], 1.0)
    np.testing.assert_allclose(out / 1.7e308, by_hand([0, 1, 2], [1.0, -1.0, 1.0], 1.0), rtol=1e-12)


def test_no_half_life_is_the_raw_line_and_an_endless_one_the_running_mean():
    values = np.array([4.0, 2.0, np.nan, 3.0])
    np.testing.assert_array_equal(ema(np.arange(4), values, 0.0), values)
    np.testing.assert_allclose(ema(np.arange(4), values, np.inf), [4.0, 3.0, np.nan, 3.0])


def test_the_input_is_not_changed():
    values = np.arange(5.0)
    ema(np.arange(5), values, 2.0)
    np.testing.assert_array_equal(values, np.arange(5.0))


@pytest.mark.parametrize(
    ("x", "values", "halflife", "reason"),
    [
        ([0, 1], [1.0], 1.0, "equal length"),
        ([1, 0], [1.0, 2.0], 1.0, "ascending"),
        ([0, 1], [1.0, 2.0], -1.0, "at least 0"),
        ([0, 1], [1.0, 2.0], float("nan"), "at least 0"),
    ],
)
def test_a_wrong_argument_is_named(x, values, halflife, reason):
    with pytest.raises(ValueError, match=reason):
        ema(x, values, halflife)


def test_a_wrong_weight_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        halflife_of(1.0, 1.0)


def test_empty_and_single_series_come_back():
    assert ema([], [], 3.0).size == 0
    assert ema([5], [2.0], 3.0).tolist() == [2.0]
    assert typical_gap([4]) == 1.0


def test_a_million_points_take_a_fraction_of_a_second():
    x = np.arange(1_000_000)
    values = np.random.default_rng(0).standard_normal(x.size)
    start = time.process_time()
    ema(x, values, halflife_of(0.6, 1.0))
    assert time.process_time() - start < 1.0
