"""Places within a bin: roots of a cubic that never falls."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.interpolate import PchipInterpolator

from explorer.analysis.monotone_cubic import outer_density, places, shared_density

shares = st.floats(0, 1)
densities = st.floats(0, 3)


@given(shares, densities, densities)
def test_a_place_has_its_share_below(share, left, right):
    found = places(np.array([share]), np.array([left]), np.array([right]))[0]
    assert 0 <= found <= 1
    below = left * found + (3 - 2 * left - right) * found**2 + (left + right - 2) * found**3
    assert below == pytest.approx(share, abs=1e-8)


def test_even_bins_are_straight():
    share = np.linspace(0, 1, 11)
    np.testing.assert_allclose(places(share, np.ones(11), np.ones(11)), share)


def test_what_is_not_known_stays_unknown_and_spoils_nothing():
    found = places(np.array([np.nan, 0.5]), np.ones(2), np.ones(2))
    np.testing.assert_array_equal(found, [np.nan, 0.5])


@pytest.mark.parametrize(("widths", "counts"), [((1, 2, 1), (5, 1, 9)), ((1, 1, 1), (3, 3, 3)), ((4, 1, 2), (1, 8, 2))])
def test_densities_are_those_of_scipy(widths, counts):
    edges, below = np.cumsum([0, *widths]), np.cumsum([0, *counts])
    truth = PchipInterpolator(edges, below).derivative()(edges)
    own, other = (np.array([counts[i] / widths[i]]) for i in (1, 0))
    shared = shared_density(np.array([widths[0] / widths[1]]), other / own) * own
    assert shared[0] == pytest.approx(truth[1])
    first, second = (np.array([counts[i] / widths[i]]) for i in (0, 1))
    outer = outer_density(np.array([widths[1] / widths[0]]), second / first) * first
    assert outer[0] == pytest.approx(truth[0])
