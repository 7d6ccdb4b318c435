"""Chance levels against simulation and SciPy; the distances themselves are tested through `drift`."""

import numpy as np
import pytest
from scipy.stats import chi2, kstwo

from explorer.analysis import distances
from explorer.storage.bins import histogram_of


@pytest.mark.parametrize("shape", ["normal", "uniform", "t3", "sparse", "two values"])
def test_the_area_of_a_bridge_is_that_of_simulated_ones(shape, rng):
    size = 100_000
    values = {
        "normal": rng.standard_normal(size),
        "uniform": rng.random(size),
        "t3": rng.standard_t(3, size),
        "sparse": np.where(rng.random(size) < 0.9, 0, rng.standard_normal(size)),
        "two values": (rng.random(size) < 0.3).astype(float),
    }[shape]
    tail = np.geomspace(1e-5, 0.05, 40)
    shares = np.concatenate([tail, np.linspace(0.06, 0.94, 90), 1 - tail[::-1]])
    width = np.diff(np.quantile(values, shares))
    middle = (shares[1:] + shares[:-1]) / 2
    walk = rng.standard_normal((20_000, len(middle))) * np.sqrt(np.diff(middle, prepend=0))
    walk = walk.cumsum(axis=1)
    end = walk[:, -1] + rng.standard_normal(20_000) * np.sqrt(1 - middle[-1])
    areas = np.abs(walk - middle * end[:, None]) @ width
    found = distances.bridge_areas(histogram_of(values))[0]
    assert found == pytest.approx(np.quantile(areas, 0.99), rel=0.1)


def test_chi_squared_levels_are_those_of_scipy():
    groups = np.arange(2, 21)
    ones = np.full(len(groups), 1)
    levels = distances.psi_by_chance(2 * ones, 2 * ones, groups)  # 1/2 + 1/2: chi2 itself
    np.testing.assert_allclose(levels, chi2.ppf(0.99, groups - 1), rtol=0.01)
    js = distances.js_by_chance(1000 * ones, 1000 * ones, groups)
    np.testing.assert_allclose(js**2, chi2.ppf(0.99, groups - 1) / 500 / (8 * np.log(2)), rtol=0.01)


def test_a_single_group_cannot_differ_by_chance():
    one = np.array([1])
    assert distances.psi_by_chance(one, one, one) == distances.js_by_chance(one, one, one) == 0


@pytest.mark.parametrize(("num", "other"), [(500, 500), (300, 4000), (10**6, 10**6)])
def test_the_ks_level_is_that_of_kolmogorov(num, other):
    found = distances.ks_by_chance(np.array([num]), np.array([other]))[0]
    assert found == pytest.approx(kstwo.ppf(0.99, round(num * other / (num + other))), rel=0.02)


def test_chance_levels_stay_below_the_largest_distance():
    few = np.array([1])
    assert distances.ks_by_chance(few, few) == distances.js_by_chance(few, few, np.array([20])) == 1
