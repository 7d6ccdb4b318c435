"""How far each layer moved at each step: one picture under Vega's axes, and cells that answer to the pointer.

| table | one row is | columns |
|---|---|---|
| image | the picture, one row | x, x2 (steps), url |
| cells | what can be pointed at and clicked | x, x2, row, layer, key, at (step), of (its steps), drift, null |
| alarms | an unusual change | x, row, told |
| chosen | the cell that is open, at most one row | x, x2, row |
| rows | a layer, in order from the top | row, layer |
| legend | an end of the colour scale | share |
| view | the ends of the x axis, one row | x_low, x_high, y_low, y_high |

The picture has every layer and step; cells are at most 2,400, so with more of them one cell stands for neighbouring
steps, and tells (and opens) the one that drifted most.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.distribution_tables import view_table
from explorer.charts.heat_map import layer, legend_encoding, step_channel
from explorer.charts.png import Colour, data_uri, indexed_png, ramp
from explorer.charts.step_axis import pixel_columns, sample_edges

Spec = dict[str, Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CELL: Final = "cell"
DRIFT_TABLES: Final = ("image", "cells", "alarms", "chosen", "rows", "legend", "view")
MAX_CELLS: Final = 2_400
MAX_ROWS: Final = 60
_LEVELS: Final = 24
_COLUMNS: Final = 800
_NAMES_PX: Final = 210
# The axis of steps and the colour scale, which the app fits into the height with the plot.
_BESIDE_PX: Final = 90


@lru_cache(maxsize=64)
def drift_spec(num_rows: int, measure: str) -> Spec:
    """Return the Vega-Lite specification of the heat map of drift; do not change it.

    The point selection `cell` reports `key` and `at` of the cell that was clicked.

    Args:
        num_rows: how many layers are drawn, which decides the height.
        measure: title of the colour scale.
    """
    size = 20 if num_rows <= 16 else 16 if num_rows <= 32 else 13
    y = {
        "field": "row",
        "type": "ordinal",
        # Numbers of rows with names as data: Vega keeps the order in which it first met a value, so that names as the
        # domain would stand beside other layers' rows once these are sorted anew.
        "scale": {"domain": list(range(max(num_rows, 1))), "paddingInner": 0, "paddingOuter": 0},
        "axis": {
            "title": None,
            "labelExpr": "datum.value < length(data('rows')) ? data('rows')[datum.value].layer : ''",
            "labelLimit": _NAMES_PX,
            "labelOverlap": False,
            "labelFlush": False,
            "domain": False,
            "ticks": False,
            "grid": False,
            "labelFontSize": 11,
        },
    }
    x = step_channel("x")
    whole = {"y": {"value": 0}, "y2": {"value": {"expr": "height"}}}
    lit = {"condition": [{"param": "pointed", "value": 0.9, "empty": False}], "value": 0}
    cell = {
        "x": x,
        "x2": {"field": "x2"},
        "y": y,
        "strokeOpacity": lit,
        "tooltip": [
            {"field": "layer", "type": "nominal", "title": "layer"},
            {"field": "at", "type": "quantitative", "title": "step", "format": ",d"},
            {"field": "of", "type": "nominal", "title": "of steps"},
            {"field": "drift", "type": "quantitative", "title": measure, "format": ".3~g"},
            {"field": "null", "type": "quantitative", "title": "by chance up to", "format": ".3~g"},
        ],
    }
    alarm = {"x": x, "y": y, "tooltip": [{"field": "told", "type": "nominal", "title": "unusual for this layer"}]}
    click = {"type": "point", "fields": ["key", "at"], "on": "click", "toggle": False}
    pointed = {"type": "point", "fields": ["key", "at"], "on": "pointerover", "clear": "pointerout"}
    frame = {"type": "rect", "fillOpacity": 0, "stroke": "#e07b00", "strokeWidth": 2, "tooltip": None}
    answering = {"type": "rect", "fill": "#808080", "fillOpacity": 0.001, "stroke": "#808080", "cursor": "pointer"}
    mark = {"type": "point", "shape": "triangle-up", "filled": True, "size": 34, "opacity": 1, "color": "#d93a2b"}
    return {
        "height": size * max(num_rows, 2) + _BESIDE_PX,
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
        "params": [
            {"name": CELL, "select": click, "views": ["cells"]},
            {"name": "pointed", "select": pointed, "views": ["cells"]},
        ],
        "layer": [
            layer("rows", {"type": "rule", "opacity": 0, "tooltip": None}, {"y": y}),
            layer("view", {"type": "rule", "opacity": 0, "tooltip": None}, {"y": {"value": 0}}),
            layer(
                "image",
                {"type": "image", "aspect": False, "smooth": False, "tooltip": None},
                {"x": x, "x2": {"field": "x2"}, **whole, "url": {"field": "url", "type": "nominal"}},
            ),
            layer("legend", {"type": "point", "opacity": 0, "tooltip": None}, legend_encoding(measure, ".2~g", 1.0)),
            layer("cells", answering, cell, name="cells"),
            layer("alarms", mark, alarm),
            layer("chosen", frame, {"x": x, "x2": {"field": "x2"}, "y": y}),
        ],
        "config": {"mark": {"aria": False}},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
    }


def drift_tables(
    labels: Sequence[str],
    keys: Sequence[str],
    step: Ints,
    drift: Floats,
    null: Floats,
    colours: Sequence[str],
    muted: Sequence[str],
    alarms: npt.NDArray[np.bool_],
    apart: npt.NDArray[np.bool_],
    chosen: tuple[str, int] | None = None,
) -> dict[str, pa.Table]:
    """Return the tables of the heat map of drift.

    Args:
        labels: `[layers]`, unique, from the top.
        keys: `[layers]`, what a click reports.
        step: int64[n], ascending.
        drift: float64[layers, n]; NaN where it is not known, which is drawn as nothing.
        null: float64[layers, n], what chance alone gives for as many values.
        colours: of drift above its null, `#rrggbb`, faintest first.
        muted: of drift within its null.
        alarms: bool[layers, n], changes that are unusual for their layer.
        apart: bool[layers, n], drift in another unit, which sets no end of the colour scale.
        chosen: key and step of the cell that is open.
    """
    edges = sample_edges(step)
    window = (float(edges[0]), float(edges[-1])) if len(edges) else (0.0, 1.0)
    top = scale_top(np.where(apart, np.nan, drift))
    first, last = _groups(edges, len(labels))
    picture = drift_picture(drift, null, edges, window, colours, muted, top)
    return {
        "image": arrow.table(
            {"x": arrow.numbers([window[0]]), "x2": arrow.numbers([window[1]]), "url": arrow.texts([picture])}
        ),
        "cells": _cells(labels, keys, step, drift, null, edges, first, last),
        "alarms": _alarms(step, alarms),
        "chosen": _chosen(keys, step, edges, first, last, chosen),
        "rows": arrow.table({"row": _rows(np.arange(len(labels))), "layer": arrow.texts(labels)}),
        "legend": arrow.table({"share": arrow.numbers([0.0, top])}),
        "view": view_table(window, (0.0, 1.0)),
    }


def scale_top(drift: Floats) -> float:
    """Return the drift that has the strongest colour, for float64[layers, n] with NaN where it is not known.

    What 99 % of the cells stay within; but where few layers move far more than most (biases and scales that begin as
    constants), four times what the middle layer reaches, so that the others keep their colours. 1 when nothing drifted.
    """
    known = drift[np.isfinite(drift)]
    if not len(known):
        return 1.0
    reached = np.nanmax(drift[np.isfinite(drift).any(axis=1)], axis=1)
    most, middle = float(np.quantile(known, 0.99)), float(np.median(reached))
    if middle > 0 and most > 10 * middle:
        return 4 * middle
    return most or float(known.max()) or 1.0


def drift_picture(
    drift: Floats,
    null: Floats,
    edges: Floats,
    window: tuple[float, float],
    colours: Sequence[str],
    muted: Sequence[str],
    top: float,
) -> str:
    """Return the picture as a data address: a row for each layer; cells without a number are clear.

    A column of pixels that several samples share shows the largest drift of them.
    """
    num = min(_COLUMNS, max(1, 8 * (len(edges) - 1)))
    first, last = pixel_columns(edges, *window, num)
    pixels = np.zeros((max(len(drift), 1), num), np.uint8)
    filled = np.where(np.isfinite(drift), drift, -1.0)
    above = drift > null
    for column in range(num):
        a, b = first[column], last[column]
        if a == b or not len(drift):
            continue
        k = a + np.argmax(filled[:, a:b], axis=1)
        rows = np.arange(len(drift))
        value = filled[rows, k]
        level = np.ceil(np.clip(value / top, 0.0, 1.0) * (_LEVELS - 1)).astype(np.uint8)
        pixels[:, column] = np.where(value < 0, 0, level + np.where(above[rows, k], 1 + _LEVELS, 1))
    palette: list[Colour] = [(0, 0, 0), *ramp(muted, _LEVELS), *ramp(colours, _LEVELS)]
    return data_uri(indexed_png(pixels, palette, clear=0))


def _groups(edges: Floats, num_layers: int) -> tuple[Ints, Ints]:
    """The samples that each column of cells stands for, so that there are at most `MAX_CELLS` cells."""
    num = len(edges) - 1
    size = -(-num * max(num_layers, 1) // MAX_CELLS) if num > 0 else 1
    first = np.arange(0, max(num, 0), size)
    return first, np.minimum(first + size, num)


def _cells(
    labels: Sequence[str],
    keys: Sequence[str],
    step: Ints,
    drift: Floats,
    null: Floats,
    edges: Floats,
    first: Ints,
    last: Ints,
) -> pa.Table:
    filled = np.where(np.isfinite(drift), drift, -1.0)
    ks = np.array([a + np.argmax(filled[:, a:b], axis=1) for a, b in zip(first, last, strict=True)], np.int64)
    ks = ks.reshape(len(first), len(labels)).T  # [layers, columns]
    rows = np.repeat(np.arange(len(labels)), len(first))
    k = ks.reshape(-1)
    known = np.flatnonzero(filled[rows, k] >= 0) if len(rows) else rows
    rows, k, column = rows[known], k[known], np.tile(np.arange(len(first)), len(labels))[known]
    spans = [
        "itself" if b - a == 1 else f"{step[a]:,} to {step[b - 1]:,}, the largest"
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]
    names = list(dict.fromkeys(spans))
    codes = np.array([names.index(span) for span in spans], np.int16)[column]
    return arrow.table(
        {
            "x": _small(edges[first[column]]),
            "x2": _small(edges[last[column]]),
            "row": _rows(rows),
            "layer": arrow.codes(rows.astype(np.int16), labels),
            "key": arrow.codes(rows.astype(np.int16), keys),
            "at": _small(step[k].astype(np.float64)),
            "of": arrow.codes(codes, names),
            "drift": arrow.column(drift[rows, k].astype(np.float32)),
            "null": arrow.column(null[rows, k].astype(np.float32)),
        }
    )


def _rows(numbers: Ints) -> pa.Array:
    return arrow.column(numbers.astype(np.int16))


def _small(values: Floats) -> pa.Array:
    """Half the bytes where that loses nothing."""
    short = values.astype(np.float32)
    return arrow.column(short if np.array_equal(short, values) else values)


def _alarms(step: Ints, alarms: npt.NDArray[np.bool_]) -> pa.Table:
    rows, at = np.nonzero(alarms)
    return arrow.table(
        {
            "x": arrow.column(step[at].astype(np.float64)),
            "row": _rows(rows),
            "told": arrow.texts([f"step {step[k]:,}" for k in at.tolist()]),
        }
    )


def _chosen(
    keys: Sequence[str],
    step: Ints,
    edges: Floats,
    first: Ints,
    last: Ints,
    chosen: tuple[str, int] | None,
) -> pa.Table:
    rows: list[tuple[float, float, int]] = []
    if chosen is not None and chosen[0] in keys and len(step):
        k = int(np.argmin(np.abs(step - chosen[1])))
        group = int(np.searchsorted(first, k, side="right")) - 1
        rows.append((float(edges[first[group]]), float(edges[last[group]]), list(keys).index(chosen[0])))
    x, x2, row = zip(*rows, strict=True) if rows else ((), (), ())
    return arrow.table({"x": arrow.numbers(x), "x2": arrow.numbers(x2), "row": _rows(np.array(row, np.int64))})
