"""A path through the space of weights, and bars of a histogram.

| table | of | one row is | columns |
|---|---|---|---|
| path | `path_spec` | a snapshot | x, y, order, label (text), told (text) |
| bars | `bars_spec` | a bin | x, x2, y, told (text) |
| view | both | the ends of the axes, one row | x_low, x_high, y_low, y_high |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.guides import Spec, number_axis, range_scale

Floats = npt.NDArray[np.float64]

MAX_POINTS: Final = 1_000
_ACCENT: Final = "#3b7ddd"


@lru_cache(maxsize=64)
def path_spec(x_title: str, y_title: str, tip: str, height: int = 340) -> Spec:
    """Return the specification of points joined in the order of time, coloured by it; do not change it.

    Its data are the tables `path` and `view`; points with a label have it written beside them.
    """
    x, y = (_channel(axis, axis, title) for axis, title in (("x", x_title), ("y", y_title)))
    order = {"field": "order", "type": "quantitative"}
    legend = {"title": "step", "orient": "right", "gradientLength": 120, "format": ",d", "tickCount": 4}
    line = {"type": "line", "strokeWidth": 1.2, "color": "#808080", "opacity": 0.6, "tooltip": None}
    dot = {"type": "point", "filled": True, "size": 64, "opacity": 1, "stroke": "#808080", "strokeWidth": 0.8}
    text = {"type": "text", "dy": -11, "fontSize": 12, "fontWeight": 600, "color": "#808080", "tooltip": None}
    tips = [{"field": "told", "type": "nominal", "title": tip}]
    return _whole(
        [
            {"data": {"name": "path"}, "mark": line, "encoding": {"x": x, "y": y, "order": order}},
            {
                "data": {"name": "path"},
                "mark": dot,
                "encoding": {"x": x, "y": y, "color": {**order, "legend": legend}, "tooltip": tips},
            },
            {
                "data": {"name": "path"},
                "mark": text,
                "encoding": {"x": x, "y": y, "text": {"field": "label", "type": "nominal"}},
            },
        ],
        height,
    )


@lru_cache(maxsize=64)
def bars_spec(x_title: str, y_title: str, tip: str, height: int = 240) -> Spec:
    """Return the specification of bars between two positions each; do not change it.

    Its data are the tables `bars` and `view`.
    """
    encoding = {
        "x": _channel("x", "x", x_title),
        "x2": {"field": "x2"},
        "y": _channel("y", "y", y_title),
        "y2": {"datum": 0},
        "tooltip": [{"field": "told", "type": "nominal", "title": tip}],
    }
    mark = {"type": "rect", "color": _ACCENT, "opacity": 0.85, "clip": True}
    return _whole([{"data": {"name": "bars"}, "mark": mark, "encoding": encoding}], height)


def path_table(x: Floats, y: Floats, steps: npt.NDArray[np.int64], told: Sequence[str]) -> pa.Table:
    """Return `path`, first snapshot first; the first and the last are labelled with their steps."""
    last = len(steps) - 1
    labels = [f"step {step:,}" if k in (0, last) else "" for k, step in enumerate(steps.tolist())]
    return arrow.table(
        {
            "x": arrow.column(x),
            "y": arrow.column(y),
            "order": arrow.column(steps.astype(np.float64)),
            "label": arrow.texts(labels),
            "told": arrow.texts(told),
        }
    )


def bars_table(edges: Floats, heights: Floats, told: Sequence[str]) -> pa.Table:
    """Return `bars` between neighbouring `edges` (`[n + 1]`)."""
    columns = {"x": edges[:-1], "x2": edges[1:], "y": heights}
    return arrow.table(
        {
            **{name: arrow.column(np.ascontiguousarray(column)) for name, column in columns.items()},
            "told": arrow.texts(told),
        }
    )


def _channel(axis: str, field: str, title: str) -> Spec:
    guide = {**number_axis(title), "tickCount": 6}
    return {
        "field": field,
        "type": "quantitative",
        "axis": guide,
        "scale": range_scale("x" if axis == "x" else "y", "linear"),
    }


def _whole(layers: list[Spec], height: int) -> Spec:
    nothing = {"type": "rule", "opacity": 0, "tooltip": None}
    return {
        "height": height,
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
        "layer": [*layers, {"data": {"name": "view"}, "mark": nothing, "encoding": {"y": {"value": 0}}}],
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
        "config": {"mark": {"aria": False}},
    }
