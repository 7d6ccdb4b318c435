"""Charts over layers: a constant specification, few rows, names as data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from explorer.charts.layers import (
    DepthLook,
    LinesLook,
    depth_spec,
    linear_ends,
    lines_table,
    log_ends,
    many_lines_spec,
    points_table,
)
from explorer.charts.look import CurveLook
from explorer.charts.spectra import bars_spec, bars_table, path_spec, path_table

HOSTILE = "a.b[0]'); alert(1)//"


def test_layers_stand_one_after_the_other_and_a_missing_value_breaks_the_line():
    table = lines_table(
        ["a", HOSTILE], [0.0, 1.0], [np.array([1.0, 2.0]), np.array([1.0])], [np.array([0.5, np.nan]), np.array([3.0])]
    )
    assert table.to_pylist() == [
        {"x": 1.0, "layer": "a", "place": 0.0, "y": 0.5, "alone": 1},
        {"x": 2.0, "layer": "a", "place": 0.0, "y": None, "alone": 0},
        {"x": 1.0, "layer": HOSTILE, "place": 1.0, "y": 3.0, "alone": 1},
    ]


def test_a_vertex_without_a_line_to_a_neighbour_is_drawn_as_a_dot():
    gap = np.array([1.0, 2.0, np.nan, 4.0, np.nan])
    table = lines_table(["a", "b"], [0.0, 1.0], [np.arange(5.0), np.array([9.0])], [gap, np.array([1.0])])
    assert table.column("alone").to_pylist() == [0, 0, 0, 1, 0, 1]
    dots = many_lines_spec(LinesLook(y_title="r"))["layer"][1]
    assert dots["encoding"]["opacity"] == {"condition": {"test": "datum.alone", "value": 1}, "value": 0}


def test_no_layers_are_a_table_without_rows():
    assert lines_table([], [], [], []).num_rows == 0


def test_equal_looks_are_one_specification_without_data_of_files():
    look = LinesLook(y_title="update ratio", band=(3e-4, 3e-3))
    assert many_lines_spec(look) is many_lines_spec(LinesLook(y_title="update ratio", band=(3e-4, 3e-3)))
    names = [layer["data"].get("name") for layer in many_lines_spec(look)["layer"]]
    assert names == [None, "lines", "lines", "view"]  # the band comes first and holds its two numbers itself


def test_the_first_layer_is_at_the_top_and_a_name_is_never_a_field():
    series = CurveLook(domain=("step 1",), shown=("step 1",))
    spec = depth_spec(DepthLook(layers=(HOSTILE, "b"), series=series, title="norm"))
    dots = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    assert dots["encoding"]["y"]["scale"]["domain"] == [HOSTILE, "b"]
    assert dots["encoding"]["y"]["field"] == "layer"
    fields = {value["field"] for value in dots["encoding"].values() if isinstance(value, dict) and "field" in value}
    assert fields == {"y", "layer", "series"}


def test_a_value_that_is_not_finite_is_told_and_not_drawn():
    table = points_table(["a", "b"], ["s", "s"], np.array([1.0, np.inf]), ["1", "∞"])
    assert table.column("y").to_pylist() == [1.0, None]
    assert table.column("told").to_pylist() == ["1", "∞"]


@pytest.mark.parametrize("values", [[], [np.nan], [0.0, -1.0]])
def test_a_logarithmic_axis_without_positive_values_has_ends_all_the_same(values):
    assert log_ends(np.array(values)) == (1.0, 10.0)


def test_axes_hold_their_values_with_some_air():
    low, high = log_ends(np.array([1e-5, 1e-2, np.nan]))
    assert low < 1e-5 < 1e-2 < high
    assert linear_ends(np.array([2.0])) == (1.9, 2.1)
    assert linear_ends(np.array([np.inf])) == (0.0, 1.0)
    assert all(np.isfinite(linear_ends(np.array([-1.7e308, 1.7e308]))))


def test_a_path_is_labelled_at_its_ends():
    table = path_table(np.zeros(3), np.ones(3), np.array([0, 10, 2_000]), ["a", "b", "c"])
    assert table.column("label").to_pylist() == ["step 0", "", "step 2,000"]
    assert "datasets" not in json.dumps(path_spec("PC 1", "PC 2", "snapshot"))


def test_bars_stand_between_their_edges():
    table = bars_table(np.array([0.0, 1.0, 3.0]), np.array([0.25, 0.75]), ["a", "b"])
    assert table.to_pylist()[1] == {"x": 1.0, "x2": 3.0, "y": 0.75, "told": "b"}
    assert bars_spec("change", "share", "values") is bars_spec("change", "share", "values")
