"""Charts over the layers of a model: one line for each over steps, and one dot for each by depth.

| table | of | one row is | columns |
|---|---|---|---|
| lines | `many_lines_spec` | a vertex of a layer's line | x, layer, place (0 first to 1 last layer), y (null: a gap), \
alone (1: no line goes to a neighbour) |
| points | `depth_spec` | a layer of a series | layer, place (its number), series, y, told (text) |
| view | both | the ends of the axes, one row | x_low, x_high, y_low, y_high |

Names of layers are data and never fields. A specification depends on its look alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.guides import ScaleKind, Spec, colours, number_axis, range_scale
from explorer.charts.look import CurveLook

Floats = npt.NDArray[np.float64]

RATIO_BAND: Final = (3e-4, 3e-3)
"""Where the update ratio of most healthy layers is, around the rule of thumb of 1e-3."""
MAX_LINE_ROWS: Final = 3_600
_ROW_PX: Final = 17
_MAX_DEPTH_PX: Final = 1_100
_FONT_PX: Final = 11
_AXES_PX: Final = 70


@dataclass(frozen=True, kw_only=True)
class LinesLook:
    """What the specification of `many_lines_spec` depends on.

    Attributes:
        y_title: title of the y axis, with its unit.
        band: a range of y that is shaded behind the lines, or None.
        log_y: logarithmic y axis.
        height: of the chart in pixels.
    """

    y_title: str
    band: tuple[float, float] | None = None
    log_y: bool = True
    height: int = 320


@lru_cache(maxsize=64)
def many_lines_spec(look: LinesLook) -> Spec:
    """Return the specification of one line per layer over steps, coloured by depth; do not change it.

    Its data are the tables `lines` and `view`. The layer under the pointer is told by a tooltip.
    """
    x = {
        "field": "x",
        "type": "quantitative",
        "axis": {**number_axis("step"), "tickMinStep": 1, "grid": False, "tickCount": 8},
        "scale": range_scale("x", "linear"),
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "axis": number_axis(look.y_title, log=look.log_y),
        "scale": range_scale("y", _kind(look.log_y)),
    }
    depth = {
        "field": "place",
        "type": "quantitative",
        "scale": {"domain": [-0.5, 1]},  # the faintest colours are too near the page's
        "legend": {
            "title": "depth",
            "orient": "right",
            "values": [0, 1],
            "labelExpr": "datum.value ? 'last layer' : 'first layer'",
            "gradientLength": 120,
        },
    }
    line = {
        "data": {"name": "lines"},
        "mark": {"type": "line", "clip": True, "strokeWidth": 1.3, "tooltip": None, "interpolate": "linear"},
        "encoding": {"x": x, "y": y, "color": depth, "detail": {"field": "layer", "type": "nominal"}},
    }
    tips = [
        {"field": "layer", "type": "nominal", "title": "layer"},
        {"field": "x", "type": "quantitative", "title": "step", "format": ",d"},
        {"field": "y", "type": "quantitative", "title": look.y_title, "format": ".4~g"},
    ]
    dots = {
        "data": {"name": "lines"},
        "mark": {"type": "point", "clip": True, "filled": True, "size": 70},
        # To be pointed at; seen only where there is no line, of a single sample or between gaps.
        "encoding": {
            "x": x,
            "y": y,
            "color": depth,
            "opacity": {"condition": {"test": "datum.alone", "value": 1}, "value": 0},
            "tooltip": tips,
        },
    }
    return _whole([*_shade(look), line, dots, _view()], look.height)


def _shade(look: LinesLook) -> list[Spec]:
    if look.band is None:
        return []
    low, high = look.band
    y = {"type": "quantitative", "scale": range_scale("y", _kind(look.log_y))}
    return [
        {
            "data": {"values": [{"low": low, "high": high}]},
            "mark": {"type": "rect", "clip": True, "color": "#808080", "opacity": 0.13, "tooltip": None},
            "encoding": {"y": {"field": "low", **y}, "y2": {"field": "high"}},
        }
    ]


def lines_table(names: Sequence[str], places: Sequence[float], xs: Sequence[Floats], ys: Sequence[Floats]) -> pa.Table:
    """Return `lines` of layers that stand one after the other; NaN becomes null, which breaks the line.

    Args:
        names: of the layers.
        places: of the layers, 0 for the first in the model to 1 for the last.
        xs: steps of the vertices of each layer.
        ys: their heights.
    """
    sizes = [len(x) for x in xs]
    layer = np.repeat(np.arange(len(names), dtype=np.int32), sizes)
    place = np.repeat(np.asarray(places, dtype=np.float32), sizes)
    y = np.concatenate([np.empty(0), *ys])
    x = np.concatenate([np.empty(0), *xs])
    drawn = np.isfinite(y)
    joined = np.zeros(len(y) + 1, bool)  # whether a line goes from the vertex before to this one
    joined[1:-1] = drawn[1:] & drawn[:-1] & (layer[1:] == layer[:-1]) if len(y) else False
    alone = drawn & ~joined[:-1] & ~joined[1:]
    return arrow.table(
        {
            "x": arrow.column(x),
            "layer": arrow.codes(layer, names),
            "place": arrow.column(place),
            "y": arrow.column(y, ~drawn),
            "alone": arrow.column(alone.astype(np.int8)),
        }
    )


@dataclass(frozen=True, kw_only=True)
class DepthLook:
    """What the specification of `depth_spec` depends on.

    Attributes:
        layers: names in the order of the model, from top to bottom.
        series: of `CurveLook`: what the colours mean; its `shown` are the series.
        title: of the x axis, with its unit.
        log: logarithmic x axis.
        rule: a value that is marked by a line, or None.
    """

    layers: tuple[str, ...]
    series: CurveLook
    title: str
    log: bool = True
    rule: float | None = None


@lru_cache(maxsize=64)
def depth_spec(look: DepthLook) -> Spec:
    """Return the specification of one dot per layer and series, first layer at the top; do not change it.

    Its data are the tables `points` and `view` (of which `x_low` and `x_high` are used).
    """
    x = {
        "field": "y",
        "type": "quantitative",
        "axis": {**number_axis(look.title, log=look.log), "orient": "top", "tickCount": 6},
        "scale": range_scale("x", _kind(look.log)),
    }
    num = max(len(look.layers), 1)
    height = min(num * _ROW_PX, _MAX_DEPTH_PX) + _AXES_PX
    y = {
        "field": "layer",
        "type": "nominal",
        "scale": {"domain": list(look.layers), "padding": 0.4},
        "axis": {
            "title": None,
            "labelLimit": 260,
            "labelOverlap": num * _FONT_PX > _MAX_DEPTH_PX,
            "grid": True,
            "gridOpacity": 0.35,
            "ticks": False,
            "domain": False,
        },
    }
    tips = [
        {"field": "layer", "type": "nominal", "title": "layer"},
        {"field": "series", "type": "nominal", "title": "of"},
        {"field": "told", "type": "nominal", "title": look.title},
    ]
    dots = {
        "data": {"name": "points"},
        "mark": {"type": "point", "filled": True, "size": 48, "opacity": 0.9, "clip": True},
        "encoding": {"x": x, "y": y, "color": colours(look.series), "tooltip": tips},
    }
    line = {
        "data": {"name": "points"},
        "mark": {
            "type": "line",
            "strokeWidth": 1.1,
            "opacity": 0.45,
            "clip": True,
            "tooltip": None,
            "orient": "vertical",
        },
        "encoding": {
            "x": x,
            "y": y,
            "color": colours(look.series),
            "order": {"field": "place", "type": "quantitative"},
        },
    }
    mark = [] if look.rule is None else [_rule(look.rule, look.log)]
    return _whole([*mark, line, dots, _view()], height)


def _rule(value: float, log: bool) -> Spec:
    return {
        "data": {"values": [{"at": value}]},
        "mark": {"type": "rule", "color": "#808080", "strokeDash": [4, 3], "tooltip": None},
        "encoding": {"x": {"field": "at", "type": "quantitative", "scale": range_scale("x", _kind(log))}},
    }


def points_table(layers: Sequence[str], series: Sequence[str], values: Floats, told: Sequence[str]) -> pa.Table:
    """Return `points`, one row per value, layers in the order in which they are first named.

    A value that is not finite becomes null and is told only in text.
    """
    places = {layer: place for place, layer in enumerate(dict.fromkeys(layers))}
    return arrow.table(
        {
            "layer": arrow.texts(layers),
            "place": arrow.column(np.array([places[layer] for layer in layers], dtype=np.int32)),
            "series": arrow.texts(series),
            "y": arrow.column(values, ~np.isfinite(values)),
            "told": arrow.texts(told),
        }
    )


def log_ends(values: Floats) -> tuple[float, float]:
    """Return the ends of a logarithmic axis for the positive finite values, with some air; (1, 10) without any."""
    good = values[np.isfinite(values) & (values > 0)]
    if not good.size:
        return 1.0, 10.0
    low, high = np.log10(float(good.min())), np.log10(float(good.max()))
    air = (high - low) * 0.05 or 0.3
    return 10.0 ** max(low - air, -320.0), 10.0 ** min(high + air, 308.0)


def linear_ends(values: Floats) -> tuple[float, float]:
    """Return the ends of a linear axis for the finite values, with some air; (0, 1) without any."""
    good = values[np.isfinite(values)]
    if not good.size:
        return 0.0, 1.0
    low, high = float(good.min()), float(good.max())
    air = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return max(low - air, -1.7e308), min(high + air, 1.7e308)


def _kind(log: bool) -> ScaleKind:
    return "log" if log else "linear"


def _view() -> Spec:
    """Vega keeps only tables that some layer reads; the scales read this one by name."""
    return {
        "data": {"name": "view"},
        "mark": {"type": "rule", "opacity": 0, "tooltip": None},
        "encoding": {"y": {"value": 0}},
    }


def _whole(layers: list[Spec], height: int) -> Spec:
    return {
        "height": height,
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
        "layer": layers,
        # Streamlit sets both by the number of rows when they are left open, which would make a new chart of new data.
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
        "config": {"mark": {"aria": False}},
    }
