"""Fan, ridges, slice and strip of counts: constant specifications, and tables that hold what they say."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import vl_convert

from explorer.charts.distribution_tables import (
    MAX_FAN_ROWS,
    Layer,
    counts_table,
    fan_tables,
    ridge_samples,
    ridge_tables,
    share_text,
    slice_tables,
)
from explorer.charts.distributions import (
    COUNT_TABLES,
    FAN_TABLES,
    KINDS,
    MAX_BARS,
    MAX_RIDGES,
    PERCENTS,
    RIDGE_TABLES,
    SLICE_TABLES,
    counts_spec,
    fan_spec,
    ridge_spec,
    slice_spec,
)
from explorer.charts.look import domain
from explorer.charts.step_axis import sample_edges
from explorer.charts.value_axis import ValueAxis

HOSTILE = "a'b]\"c[0] datum.x ${1} </script>"
DOMAIN = domain({"a": 0, HOSTILE: 3})
TITLES = ("step", "median", "middle", "reach", "beside")
AXIS = ValueAxis(np.linspace(-1.0, 1.0, 101))
SPECS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "fan": (fan_spec(DOMAIN, TITLES), FAN_TABLES),
    "ridges": (ridge_spec(), RIDGE_TABLES),
    "slice": (slice_spec(DOMAIN, ("a", HOSTILE)), SLICE_TABLES),
    "counts": (counts_spec(("NaN", "zero")), COUNT_TABLES),
    "counts with steps": (counts_spec(KINDS, with_steps=True), COUNT_TABLES),
}


@pytest.mark.parametrize("name", SPECS)
def test_every_specification_compiles_without_a_warning(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    spec, tables = SPECS[name]
    vega = vl_convert.vegalite_to_vega(spec, show_warnings=True)
    assert {source["name"] for source in vega["data"]} >= set(tables)
    assert {layer["data"]["name"] for layer in spec["layer"]} == set(tables)
    assert "WARN" not in capfd.readouterr().err


@pytest.mark.parametrize("name", SPECS)
def test_only_fixed_fields_are_read_whatever_runs_are_called(name: str) -> None:
    text = json.dumps(SPECS[name][0])
    assert all(re.fullmatch(r"[a-z_0-9]+", field) for field in re.findall(r'"field": "([^"]*)"', text))
    assert not any("script" in found for found in re.findall(r'"(?:expr|labelExpr|test)": "([^"]*)"', text))


@pytest.mark.parametrize("most", [3e-6, 3.6e-4, 0.031, 0.62])
def test_ticks_of_shares_are_told_apart_however_small_they_are(most: float) -> None:
    shares = np.full(100, most / 3)
    shares[50] = most
    tables = slice_tables([Layer("a", "now", shares)], AXIS, most)
    spec = {**SPECS["slice"][0], "width": 300, "datasets": {name: part.to_pylist() for name, part in tables.items()}}
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    ticks = re.findall(r">([0-9.e-]+%)<", svg)
    assert len(ticks) >= 4
    assert len(set(ticks)) == len(ticks)


def fan(num: int, empty: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).normal(0, 0.1, (num, 200))
    quantiles = np.quantile(values, np.array(PERCENTS) / 100, axis=1).T
    quantiles[list(empty)] = np.nan
    return np.arange(num) * 10, quantiles


def test_a_fan_has_a_row_for_each_sample_and_a_gap_where_nothing_is_finite() -> None:
    step, quantiles = fan(5, empty=(2,))
    ends = np.where(np.isnan(quantiles[:, 0]), np.nan, 0.5)
    tables = fan_tables(step, quantiles, -ends, ends, AXIS, "a")
    rows = tables["fan"].to_pylist()
    assert [row["x"] for row in rows] == [0, 10, 20, 30, 40]
    assert rows[2]["q50"] is None
    assert rows[1]["q25"] == pytest.approx((quantiles[1, 2] + 1) * 50)
    assert (rows[0]["low"], rows[0]["high"]) == (25.0, 75.0)
    assert [row["x"] for row in tables["dots"].to_pylist()] == [0, 10, 30, 40]


def test_of_many_samples_nothing_that_sticks_out_is_lost() -> None:
    step, quantiles = fan(25_000, empty=(7,))
    most = quantiles[:, -1].copy()
    most[12_345] = 0.93
    table = fan_tables(step, quantiles, quantiles[:, 0], most, AXIS, "a")["fan"]
    assert table.num_rows <= MAX_FAN_ROWS
    assert max(table["high"].to_pylist()) == pytest.approx((0.93 + 1) * 50)
    assert None not in table["q50"].to_pylist()


def test_ridges_are_evenly_chosen_with_first_and_last() -> None:
    assert ridge_samples(3).tolist() == [0, 1, 2]
    picked = ridge_samples(1_000)
    assert len(picked) == MAX_RIDGES
    assert (picked[0], picked[-1]) == (0, 999)
    assert len(ridge_samples(0)) == 0


def test_a_ridge_rises_above_its_own_baseline_by_its_shares() -> None:
    shares = np.array([[0.0, 0.5], [1.0, 0.25], [0.0, 0.25]])
    rows = ridge_tables(np.array([0, 10]), shares, AXIS)["ridges"].to_pylist()
    upper = [row["y1"] - row["y0"] for row in rows if row["step"] == 0]
    lower = [row["y1"] - row["y0"] for row in rows if row["step"] == 10]
    assert upper.index(max(upper)) == 2
    assert lower[1] == pytest.approx(2 * lower[2])
    assert len({row["y0"] for row in rows}) == 2
    assert all(0 <= row["x"] <= AXIS.end for row in rows)


def test_thirty_two_ridges_of_the_most_bars_stay_within_the_budget() -> None:
    tables = ridge_tables(np.arange(MAX_RIDGES), np.ones((80, MAX_RIDGES)), AXIS)
    assert sum(table.num_rows for table in tables.values()) <= 4_000


def test_outlines_stand_on_the_same_bars_and_hold_their_shares() -> None:
    now, then = np.array([0.25, 0.5, 0.25, 0.0]), np.array([0.0, 0.0, 0.5, 0.5])
    tables = slice_tables([Layer("a", "now", now), Layer("b", "then", then)], AXIS, 0.1)
    rows = tables["bars"].to_pylist()
    for series, when, shares in (("a", "now", now), ("b", "then", then)):
        drawn = [row for row in rows if row["series"] == series]
        assert {row["when"] for row in drawn} == {when}
        assert [row["x"] for row in drawn] == [0, 25, 50, 75, 100]
        assert [row["y"] for row in drawn] == [*shares, 0.0]  # a bar reaches to the next point
    assert tables["view"].to_pylist()[0]["y_high"] > 0.5


def test_the_pointer_tells_the_share_of_every_outline_and_the_values_it_reaches_over() -> None:
    tables = slice_tables(
        [Layer("a", "now", np.array([0.25, 0.75])), Layer("", "then", np.zeros(2), is_drawn=False)], AXIS, 0.1
    )
    first = tables["hover"].to_pylist()[0]
    assert first["at"] == "−1 to 0"
    assert (first["v0"], first["v1"]) == ("25 %", "")


def test_exact_zeros_are_a_line_at_zero_as_high_as_their_share() -> None:
    tables = slice_tables([Layer("a", "now", np.array([0.2, 0.2]), zero_share=0.6)], AXIS, 0.1)
    atom = tables["atoms"].to_pylist()[0]
    assert atom["x"] == 50
    assert atom["y"] == pytest.approx(0.6 * tables["view"].to_pylist()[0]["y_high"])
    assert atom["text"] == "60 % exactly 0"


def test_a_tensor_of_one_value_is_one_line_and_its_value_in_words() -> None:
    tables = slice_tables([Layer("a", "now", np.array([0.0, 1.0]), constant=0.5)], AXIS, 0.1)
    assert tables["bars"].num_rows == 0
    assert tables["atoms"].to_pylist()[0]["text"] == "all finite values are 0.5"


def test_eight_outlines_of_the_most_bars_stay_within_the_budget() -> None:
    layers = [Layer(str(k), "now", np.full(MAX_BARS, 1 / MAX_BARS)) for k in range(8)]
    assert sum(table.num_rows for table in slice_tables(layers, AXIS, 0.1).values()) <= 4_000


def test_the_strip_has_cells_only_where_something_is_no_number() -> None:
    step, num = np.array([0, 10, 20]), np.array([8, 8, 8])
    counts = {"NaN": np.array([0, 2, 0]), "zero": np.array([8, 0, 4])}
    rows = counts_table(sample_edges(step), step, num, counts).to_pylist()
    assert [(row["kind"], row["at"], row["told"]) for row in rows] == [
        ("NaN", "10", "2 of 8 NaN"),
        ("zero", "0", "8 of 8 zero"),
        ("zero", "20", "4 of 8 zero"),
    ]
    assert (rows[0]["x"], rows[0]["x2"], rows[0]["share"]) == (5.0, 15.0, 0.25)


def test_one_nan_among_ten_thousand_samples_is_not_lost() -> None:
    step = np.arange(10_000)
    nans = np.zeros(10_000, np.int64)
    nans[7_777] = 1
    rows = counts_table(sample_edges(step), step, np.full(10_000, 100), {"NaN": nans}).to_pylist()
    assert [row["at"] for row in rows] == ["7,777"]


def test_a_share_that_is_not_nothing_is_never_told_as_nothing() -> None:
    assert share_text(1e-12) == "<0.01 %"
    assert share_text(1 - 1e-12) == ">99.9 %"
