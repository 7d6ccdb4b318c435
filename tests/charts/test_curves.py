"""The specification of curves: constant, free of names, and compiled by the Vega-Lite that draws it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import vl_convert

from explorer.charts.curves import TABLES, ZOOM, curves_spec
from explorer.charts.look import MAX_HOVER, PERIOD, CurveLook, XKind, domain

LOOK = CurveLook(domain=domain({"a": 0, "b": 1}), shown=("a", "b"))
HOSTILE = "a'b]\"c[0] datum.x ${1} </script>"


def encodings(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [channel for layer in spec["layer"] for channel in layer["encoding"].values()]


def tooltip_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[list[dict[str, Any]]] = [one["encoding"].get("tooltip") for one in spec["layer"]]
    return next(fields for fields in found if fields)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("kind", ["whole", "number", "utc"])
def test_every_look_compiles_without_a_warning(
    log: bool, smooth: bool, kind: XKind, capfd: pytest.CaptureFixture[str]
) -> None:
    look = replace(LOOK, log_x=log and kind != "utc", log_y=log, smooth=smooth, x_kind=kind)
    vega = vl_convert.vegalite_to_vega(curves_spec(look), show_warnings=True)
    assert {source["name"] for source in vega["data"]} >= set(TABLES)
    assert "WARN" not in capfd.readouterr().err


def test_equal_looks_share_one_specification() -> None:
    assert curves_spec(LOOK) is curves_spec(replace(LOOK))
    assert curves_spec(LOOK) is not curves_spec(replace(LOOK, height=100))


def test_data_come_by_name_and_are_not_in_the_specification() -> None:
    spec = curves_spec(LOOK)
    assert "datasets" not in spec
    assert {layer["data"]["name"] for layer in spec["layer"]} == set(TABLES)


def test_only_fixed_fields_are_read_whatever_series_are_called() -> None:
    spec = curves_spec(CurveLook(domain=domain({HOSTILE: 0, "title": 1}), shown=(HOSTILE, "title"), x_title=HOSTILE))
    channels = encodings(spec)
    channels += [one for channel in channels if isinstance(channel, list) for one in channel]
    fields = {channel["field"] for channel in channels if isinstance(channel, dict) and "field" in channel}
    assert all(re.fullmatch(r"[a-z_0-9]+", field) for field in fields)
    expressions = re.findall(r'"(?:expr|labelExpr|test)": "([^"]*)"', json.dumps(spec))
    assert expressions
    assert not any("script" in text for text in expressions)
    assert vl_convert.vegalite_to_vega(spec)


def test_no_key_of_the_tooltip_is_one_that_it_treats_in_its_own_way() -> None:
    look = CurveLook(domain=("title", "image"), shown=("title", "image"))
    tooltip = next(
        layer["encoding"]["tooltip"] for layer in curves_spec(look)["layer"] if "tooltip" in layer["encoding"]
    )
    assert not {"title", "image"} & {field["title"] for field in tooltip}


def test_colours_are_the_theme_s_and_a_series_keeps_its_place() -> None:
    for labels in ({"b": 9}, {"a": 1, "b": 9, "c": 10}, {"b": 9, "z": 9 + PERIOD}):
        found = domain(labels)
        assert len(set(found)) == len(found)
        assert all(found.index(label) % PERIOD == place % PERIOD for label, place in labels.items())
    scales = [scale for channel in encodings(curves_spec(LOOK)) if "scale" in channel and (scale := channel["scale"])]
    colours = next(scale for scale in scales if scale["domain"] == list(LOOK.domain))
    assert "range" not in colours


def test_the_same_label_twice_is_two_places_and_not_an_endless_search() -> None:
    assert domain({"a": 3, "b": 3})[3] == "a"
    assert domain({"a": 3, "b": 3})[3 + PERIOD] == "b"


def test_a_tooltip_tells_ten_series_and_counts_the_rest() -> None:
    names = tuple(f"run {k}" for k in range(14))
    look = CurveLook(domain=names, shown=names)
    tooltip = next(
        layer["encoding"]["tooltip"] for layer in curves_spec(look)["layer"] if "tooltip" in layer["encoding"]
    )
    assert [field["field"] for field in tooltip] == ["at", *(f"v{k}" for k in range(MAX_HOVER)), "more"]


def test_the_zoom_is_bound_to_the_x_axis_alone_and_the_wheel_needs_a_key() -> None:
    zoom = next(param for param in curves_spec(LOOK)["params"] if param["name"] == ZOOM)
    assert zoom["bind"] == "scales"
    assert zoom["select"]["encodings"] == ["x"]
    assert "ctrlKey" in zoom["select"]["zoom"]


@pytest.mark.parametrize("kind", ["whole", "utc"])
def test_scales_and_axes_of_the_first_layer_are_those_of_all(kind: XKind) -> None:
    look = replace(LOOK, x_kind=kind, smooth=True)
    first, *others = curves_spec(look)["layer"]
    assert {"x", "y", "color"} == {name for name, channel in first["encoding"].items() if "scale" in channel}
    vega = vl_convert.vegalite_to_vega(curves_spec(look))
    assert [scale["name"] for scale in vega["scales"]] == ["x", "y", "color", "shape"]
    assert "view" in json.dumps([scale["domain"] for scale in vega["scales"][:2]])
    assert not [layer for layer in others if "axis" in layer["encoding"].get("x", {})]


def test_what_streamlit_would_set_by_the_number_of_rows_is_set() -> None:
    spec = curves_spec(LOOK)
    assert spec["usermeta"]["embedOptions"]["renderer"] == "canvas"
    assert spec["config"]["mark"]["aria"] is False
