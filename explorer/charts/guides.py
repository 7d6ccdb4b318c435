"""The guides of a chart of curves: axes whose ends are data, colours of the theme, and the legend.

Layers share their scales. The first layer says what scales and axes are (`x_axis`, `y_axis`, `colours`), the others
name their fields (`x`, `y`, `colour`): the same chart in less text, which is sent with every change of the data.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from explorer.charts.look import DASHES, NUM_COLOURS, CurveLook

Spec = dict[str, Any]
ScaleKind = Literal["linear", "log", "utc"]

# Of a logarithmic axis only the powers of ten get a line across the plot.
_DECADE: Final = {"test": "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-6", "value": 1}
# Vega leaves the labels of some ticks of a logarithmic axis empty, and so do we.
_NUMBER: Final = (
    "datum.label === '' ? '' : datum.value === 0 ? '0' : "
    "abs(datum.value) >= 1e6 || abs(datum.value) < 1e-4 ? format(datum.value, '.3~e') : "
    "datum.label"
)


def x(look: CurveLook) -> Spec:
    """Return the channel x of a layer that is not the first."""
    return {"field": "x", "type": "temporal" if look.x_kind == "utc" else "quantitative"}


def x_axis(look: CurveLook) -> Spec:
    """Return the channel x of the first layer."""
    utc = look.x_kind == "utc"
    axis: Spec = {
        "title": look.x_title,
        "titlePadding": 4,
        "labelFlush": True,
        "labelOverlap": "greedy",
        "tickCount": 6,
        "grid": False,
    }
    if not utc:
        axis["labelExpr"] = _NUMBER
    if look.x_kind == "whole" and not look.log_x:
        axis["tickMinStep"] = 1
    kind: ScaleKind = "utc" if utc else "log" if look.log_x else "linear"
    return {**x(look), "axis": axis, "scale": range_scale("x", kind)}


def y(field: str) -> Spec:
    """Return the channel y of a layer that is not the first."""
    return {"field": field, "type": "quantitative"}


def y_axis(look: CurveLook, field: str) -> Spec:
    """Return the channel y of the first layer."""
    axis: Spec = {"title": None, "labelExpr": _NUMBER, "tickCount": 5, "minExtent": 42, "labelLimit": 64}
    if look.log_y:
        axis["gridOpacity"] = {"condition": _DECADE, "value": 0}
    return {**y(field), "axis": axis, "scale": range_scale("y", "log" if look.log_y else "linear")}


def number_axis(title: str | None, *, log: bool = False) -> Spec:
    """Return an axis of numbers, very large and small ones with an exponent; if `log`, decades alone get a line."""
    axis: Spec = {"title": title, "titlePadding": 4, "labelOverlap": "greedy", "labelExpr": _NUMBER}
    if log:
        axis |= {"gridOpacity": {"condition": _DECADE, "value": 0}, "tickCount": 5}
    return axis


def range_scale(channel: Literal["x", "y"], kind: ScaleKind) -> Spec:
    """Return a scale whose ends are the first row of the table `view`, so new ends are data and no new chart."""
    ends = [
        {"expr": f"length(data('view')) ? data('view')[0].{channel}_{end} : {default}"}
        for end, default in (("low", 1 if kind == "log" else 0), ("high", 10 if kind == "log" else 1))
    ]
    return {"type": kind, "domain": ends, "nice": False, **({"zero": False} if kind == "linear" else {})}


def colour(look: CurveLook) -> Spec:
    """Return the channel of colour of a layer that is not the first; its symbols are part of the legend."""
    return {"field": "series", "type": "nominal", "legend": _legend(look)}


def colours(look: CurveLook) -> Spec:
    """Return the channel of colour of the first layer: the theme's colours, by place in the domain."""
    return {**colour(look), "scale": {"domain": list(look.domain)}}


def _legend(look: CurveLook) -> Spec | None:
    names = look.shown
    if not 1 <= len(names) <= look.max_legend:
        return None
    longest = max(min(len(name), 26) for name in names)
    return {
        "title": None,
        "orient": "bottom",
        "values": list(names),
        "columns": max(1, min(len(names), int(look.legend_px / (longest * 6.2 + 42)))),
        "labelLimit": 170,
        "symbolType": "stroke",
        "symbolStrokeWidth": 2.5,
        "symbolSize": 180,
        "symbolOpacity": 1,
        "rowPadding": 2,
        "columnPadding": 12,
        "offset": 4,
    }


def dash(look: CurveLook) -> Spec:
    """Return the channel that tells series of one colour apart, empty while there are enough colours."""
    if len(look.domain) <= NUM_COLOURS:
        return {}
    dashes = [list(DASHES[place // NUM_COLOURS % len(DASHES)]) for place in range(len(look.domain))]
    scale = {"domain": list(look.domain), "range": dashes}
    return {"strokeDash": {"field": "series", "type": "nominal", "scale": scale, "legend": _legend(look)}}


def can_choose(look: CurveLook) -> bool:
    """Return whether one of several series can be chosen in the legend."""
    return 1 < len(look.shown) <= look.max_legend
