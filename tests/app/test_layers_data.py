"""Statistics of tensors as series and as grids: every number at its step, what is missing left out, NaN kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from explorer.app.layers_code import Side, curve_lines, depth_lines, grid_lines
from explorer.app.layers_curves import layer_curves
from explorer.app.layers_data import STATISTICS, from_table
from explorer.app.layers_flow import flow_text
from explorer.app.layers_grid import _scaled, column_means, grid_ends, statistic_grid
from explorer.app.layers_ratio import drawn_points, outside_text
from explorer.app.layers_read import Layer
from explorer.app.layers_table import make_row

NAN = float("nan")


def make_table(rows):
    """A table as the store gives it: sorted by name, kind and step."""
    ordered = sorted(rows, key=lambda row: (row["name"], row["kind"], row["step"]))
    table = pa.Table.from_pylist(ordered, schema=SCHEMA)
    return table.set_column(1, "name", table.column("name").dictionary_encode())


SCHEMA = pa.schema(
    [("step", pa.int64()), ("name", pa.string()), ("kind", pa.string()), ("n", pa.int64()), ("zeros", pa.int64())]
    + [(name, pa.float64()) for name in ("mean", "norm", "update_ratio", "cosine_init")]
    + [("units", pa.int64()), ("dead_units", pa.int64())]
)


def row(step, name, kind="param", **values):
    return {"step": step, "name": name, "kind": kind, "n": 10, "zeros": 0, **values}


@pytest.fixture
def statistics():
    return from_table(
        make_table(
            [
                row(0, "a.weight", norm=2.0, cosine_init=1.0),
                row(10, "a.weight", norm=NAN, update_ratio=1e-3, cosine_init=0.75, zeros=5),
                row(0, "b.weight", norm=4.0),
                row(5, "b.weight", norm=8.0, update_ratio=0.0),
                row(10, "a.weight", "grad", norm=0.5),
                row(10, "a", "activation", norm=3.0, units=8, dead_units=2),
            ]
        )
    )


def test_a_statistic_has_the_steps_at_which_it_was_recorded(statistics):
    ratio = statistics.series("a.weight", "update_ratio")
    assert (ratio.step.tolist(), ratio.value.tolist()) == ([10], [1e-3])
    assert statistics.series("a.weight", "grad_norm").value.tolist() == [0.5]


def test_a_value_that_was_recorded_as_nan_stays(statistics):
    norm = statistics.series("a.weight", "norm")
    assert norm.step.tolist() == [0, 10]
    np.testing.assert_array_equal(norm.value, [2.0, NAN])


def test_shares_are_divided_and_drift_is_one_minus_the_cosine(statistics):
    assert statistics.series("a.weight", "zeros").value.tolist() == [0.0, 0.5]
    assert statistics.series("a.weight", "drift").value.tolist() == [0.0, 0.25]
    assert statistics.series("a", "dead").value.tolist() == [0.25]


@pytest.mark.parametrize(("name", "statistic"), [("nobody", "norm"), ("b.weight", "grad_norm"), ("b.weight", "drift")])
def test_what_was_never_recorded_is_none(statistics, name, statistic):
    assert statistics.series(name, statistic) is None


def test_only_statistics_that_something_has_are_offered(statistics):
    found = statistics.recorded()
    assert {"norm", "update_ratio", "drift", "grad_norm", "dead"} <= set(found)
    assert not {"update_norm", "cosine_previous", "saturated"} & set(found)


def test_names_come_by_kind(statistics):
    assert statistics.names(["param", "grad"]) == ["a.weight", "b.weight"]
    assert statistics.names(["activation"]) == ["a"]
    assert statistics.last_step == 10


def test_a_table_without_rows_has_no_layers():
    statistics = from_table(SCHEMA.empty_table())
    assert (statistics.names(["param"]), statistics.recorded(), statistics.last_step) == ([], [], None)


def test_layers_recorded_at_other_steps_share_one_grid(statistics):
    grid = statistic_grid(statistics, ["b.weight", "a.weight", "nobody"], "norm")
    assert grid.names == ("b.weight", "a.weight")
    assert grid.steps.tolist() == [0, 5, 10]
    assert np.ma.getmaskarray(grid.values).tolist() == [[False, False, True], [False, True, False]]
    assert grid.values[0, 1] == 8.0
    assert np.isnan(grid.values[1, 2])


def test_colours_of_several_grids_share_their_ends(statistics):
    one = statistic_grid(statistics, ["a.weight"], "norm")
    other = statistic_grid(statistics, ["b.weight"], "norm")
    low, high = grid_ends([one, other], log=True)
    assert low == pytest.approx(np.log10(2.0), abs=0.02)
    assert high == pytest.approx(np.log10(8.0), abs=0.02)
    assert grid_ends([statistic_grid(statistics, [], "norm")], log=False) == (0.0, 1.0)


def test_a_column_of_several_steps_is_their_mean_and_nan_is_not_hidden() -> None:
    values = np.ma.array([[1.0, 3.0, 5.0], [NAN, 1.0, 1.0], [1.0, 1.0, 1.0]], mask=[[0, 0, 0], [0, 0, 0], [1, 1, 0]])
    found = column_means(values, [np.array([0, 1]), np.array([2])])
    assert found[0].tolist() == [2.0, 5.0]
    assert np.isnan(found.data[1, 0])
    assert not np.ma.getmaskarray(found)[1].any()
    assert np.ma.getmaskarray(found)[2].tolist() == [True, False]


def test_colour_is_the_layer_and_pattern_the_run(statistics):
    runs = [("one", statistics), ("two", statistics)]
    curves, places, missing = layer_curves(["a.weight", "b.weight"], "norm", runs)
    assert [places[curve.label] for curve in curves] == [0, 1, 8, 9]
    assert missing == []
    assert layer_curves(["b.weight"], "grad_norm", runs)[2] == ["b.weight · one", "b.weight · two"]


def test_two_layers_with_the_same_look_are_told_apart(statistics):
    curves, places, _ = layer_curves(["a.weight", "a.weight"], "norm", [("one", statistics)])
    assert len({curve.label for curve in curves}) == len(places) == 2


def test_a_logarithmic_chart_of_many_layers_keeps_its_spikes(statistics):
    steps = np.arange(5_000)
    values = np.full(5_000, 1e-3)
    values[3_333] = 0.9
    frame = pd.DataFrame({"step": steps, "name": "a", "kind": "param", "n": 1, "zeros": 0, "update_ratio": values})
    grid = statistic_grid(from_table(pa.Table.from_pandas(frame, preserve_index=False)), ["a"], "update_ratio")
    xs, ys = drawn_points(grid)
    assert len(xs[0]) <= 3_600
    assert ys[0].max() == 0.9


def test_layers_outside_the_band_are_named_with_their_ratio():
    rows = [row(0, "calm", update_ratio=1e-3), row(0, "wild", update_ratio=0.5), row(0, "stuck", update_ratio=1e-6)]
    text = outside_text(statistic_grid(from_table(make_table(rows)), ["calm", "wild", "stuck"], "update_ratio"))
    assert "1 layer above it: wild" in text
    assert "1 layer below it: stuck" in text
    assert "calm" not in text


def test_layers_whose_ratio_is_nan_are_named_and_what_was_recorded_before_is_not_told_of_the_last_step():
    rows = [row(0, "torn", update_ratio=1e-3), row(9, "torn", update_ratio=NAN), row(0, "frozen", update_ratio=0.5)]
    rows.append(row(9, "calm", update_ratio=1e-3))
    text = outside_text(statistic_grid(from_table(make_table(rows)), ["torn", "frozen", "calm"], "update_ratio"))
    assert text == "**NaN or infinite at step 9: 1 layer**: torn. All 1 other layers are inside the band at step 9."
    only = statistic_grid(from_table(make_table(rows[:2])), ["torn"], "update_ratio")
    assert outside_text(only) == "**NaN or infinite at step 9: 1 layer**: torn. "


def test_a_gradient_that_is_partly_nan_is_named_though_its_norm_is_a_number():
    assert "**NaN or infinite values at this step in the gradient of 1 layer**: torn." in flow_text(
        np.array([0.5, 1.0, 2.0]), ["torn"]
    )
    assert "no gradients to compare" in flow_text(np.array([NAN, 1.0]), [])


def test_elements_that_are_not_finite_are_counted_at_a_step_and_at_the_last_one():
    rows = [{**row(step, "a", norm=1.0), "nans": nans, "infs": 1} for step, nans in ((0, 0), (5, 3))]
    schema = pa.schema([*SCHEMA, ("nans", pa.int64()), ("infs", pa.int64())])
    statistics = from_table(pa.Table.from_pylist([*rows, {**row(9, "b"), "nans": 0, "infs": 0}], schema=schema))
    assert [statistics.not_finite("a", "param", step) for step in (None, 0, 5, 4, 9)] == [4, 1, 4, 0, 0]
    assert (statistics.not_finite("b", "param"), statistics.not_finite("a", "grad")) == (0, 0)
    assert make_row(Layer("a", "", (2, 5), "", 10, True, "parameters"), statistics).not_finite == 4


def test_zeros_and_nan_of_a_logarithmic_grid_are_both_seen():
    rows = [row(step, "a", update_ratio=value) for step, value in enumerate((1e-3, 0.0, NAN))]
    scaled = _scaled(statistic_grid(from_table(make_table(rows)), ["a"], "update_ratio").values, log=True)
    np.testing.assert_array_equal(np.ma.getdata(scaled), [[-3.0, -np.inf, NAN]])


def test_a_tensor_without_elements_has_no_norm_that_could_be_nan():
    empty = from_table(make_table([{**row(0, "a", norm=NAN), "n": 0}, row(0, "b", norm=NAN)]))
    assert empty.series("a", "norm") is None
    assert empty.series("a", "zeros") is None
    assert np.isnan(empty.series("b", "norm").value).all()


def test_the_lines_quote_what_comes_from_files():
    name = "a'); import os; os.system('x"
    codes = [curve_lines([name], "drift", {name: "/logs/x"}), grid_lines([name], "drift", name)]
    for code in [*codes, depth_lines("dead", [Side(name, "/logs/x", 3, [name])])]:
        compile(code, "lines", "exec")
        assert repr([name]) in code


def test_every_statistic_says_what_it_is():
    assert all(what.title and what.column for what in STATISTICS.values())
    assert len({(what.title) for what in STATISTICS.values()}) == len(STATISTICS)
