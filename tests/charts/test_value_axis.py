"""The axis of values: places that keep the order, and ticks that tell the truth about them."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.charts.value_axis import ValueAxis, linear_ticks, number_text, symlog_ticks

LINEAR = ValueAxis(np.linspace(-0.3, 0.4, 101))
SYMLOG = ValueAxis(np.sinh(np.linspace(-9, 9, 201)) * 1e-4, "symlog")
QUANTILE = ValueAxis(np.sort(np.random.default_rng(0).standard_normal(101)), "quantile")


@pytest.mark.parametrize("axis", [LINEAR, SYMLOG, QUANTILE], ids=["linear", "symlog", "quantile"])
def test_places_are_those_of_the_edges_and_keep_the_order(axis: ValueAxis) -> None:
    np.testing.assert_allclose(axis.place(axis.edges), np.arange(len(axis.edges)), atol=1e-9)
    values = np.sort(np.random.default_rng(1).uniform(axis.edges[0], axis.edges[-1], 50))
    assert (np.diff(axis.place(values)) >= 0).all()
    assert np.isnan(axis.place([np.nan])).all()
    assert axis.place([-1e30, 1e30]).tolist() == [0.0, axis.end]


@pytest.mark.parametrize("axis", [LINEAR, SYMLOG], ids=["linear", "symlog"])
def test_a_tick_stands_where_its_number_is(axis: ValueAxis) -> None:
    ticks = axis.ticks()
    assert len(ticks) >= 4
    assert any(label == "0" for _, label in ticks)
    for place, label in ticks:
        assert place == pytest.approx(float(axis.place(float(label.replace("−", "-").replace(",", "")))))
    assert (np.diff([place for place, _ in ticks]) >= 0.05 * axis.end).all()


def test_quantile_ticks_tell_value_and_share() -> None:
    place, label = QUANTILE.ticks()[3]
    assert place == 50
    assert label == f"{number_text(float(QUANTILE.edges[50]))}  50 %"


def test_ticks_follow_when_bins_are_joined() -> None:
    assert [place for place, _ in LINEAR.ticks(50)] == [place / 2 for place, _ in LINEAR.ticks()]


@pytest.mark.parametrize("ends", [(0.0, 0.0), (1.0, 1.0 + 1e-12), (-1e300, 1e300), (0.0, 5e-324), (float("nan"), 1.0)])
def test_odd_ranges_have_ticks_or_none_but_no_error(ends: tuple[float, float]) -> None:
    assert len(linear_ticks(*ends)) <= 20
    symlog_ticks(*ends)


def test_ticks_are_round_numbers_inside_the_range() -> None:
    for low, high in [(-0.31, 0.42), (1e-7, 3e-7), (-12_345, 99), (0.999, 1.001)]:
        ticks = linear_ticks(low, high)
        assert 2 <= len(ticks) <= 9
        assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize("value", [1e-30, -2.5e-7, 0.00123, 0.5, 9.994, 999.9, 12_345.0, 123_456_789.0, -3e38])
def test_a_number_in_a_few_characters_is_near_the_number(value: float) -> None:
    text = number_text(value)
    assert len(text) <= 9
    assert float(text.replace("−", "-").replace(",", "")) == pytest.approx(value, rel=5e-3)
