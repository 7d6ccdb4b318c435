"""Distributions of a tensor drawn as a fan of quantiles, as ridges, as a slice at one step, and what is no number.

| table | one row is | columns |
|---|---|---|
| fan | a sample, or several that share a pixel | x, series, low, q1, q5, q25, q50, q75, q95, q99, high (places) |
| dots | a sample of few | x, series, q50 |
| ridges | a point of an outline | x (place), y0, y1, ridge (number), step |
| names | a ridge | y, step (text) |
| bars | an end of a bar | x (place), y (share), series, when |
| atoms | a value that many values are equal to | x (place), y, series, text, line |
| counts | a cell of the strip of counts | x, x2, kind, share, at, told |

Beside them `hover`, `ticks`, `view` and `step` as in `explorer.charts.heat_map`. Places are those of a `ValueAxis`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from explorer.charts.heat_map import layer, step_channel, step_layer, strip_layer, strip_params
from explorer.charts.value_axis import AXIS_PX, value_channel

Spec = dict[str, Any]

PERCENTS: Final = (1, 5, 25, 50, 75, 95, 99)
FAN_TABLES: Final = ("fan", "dots", "hover", "ticks", "view", "step")
RIDGE_TABLES: Final = ("ridges", "names", "ticks", "view")
SLICE_TABLES: Final = ("bars", "atoms", "hover", "ticks", "view")
COUNT_TABLES: Final = ("counts", "view")
MAX_BARS: Final = 300
MAX_RIDGES: Final = 32
KINDS: Final = ("NaN", "Inf", "zero")
NOW: Final = "now"
THEN: Final = "then"
_KIND_COLOURS: Final = ("#d93a2b", "#e07b00", "#7f8ea3")
_ROW_PX: Final = 14
_FRAME_PX: Final = 12
_AXIS_PX: Final = 34


@lru_cache(maxsize=64)
def fan_spec(domain: tuple[str, ...], titles: tuple[str, ...], height: int = 260) -> Spec:
    """Return the specification of a fan: bands of quantiles, the median as a line, minimum and maximum as thin lines.

    Args:
        domain: labels by place in the palette (see `explorer.charts.look.domain`).
        titles: what the tooltip calls `at` and `t0` to `t3`.
        height: of the plot in pixels.
    """
    x, colour = step_channel("x"), _colour(domain)

    def band(low: str, high: str, opacity: float) -> Spec:
        encoding = {"x": x, "y": value_channel("y", low), "y2": {"field": high}, "color": colour}
        return layer("fan", {"type": "area", "opacity": opacity, "clip": True, "tooltip": None}, encoding)

    def line(field: str, width: float, **more: object) -> Spec:
        mark = {"type": "line", "clip": True, "strokeWidth": width, "tooltip": None, **more}
        return layer("fan", mark, {"x": x, "y": value_channel("y", field), "color": colour})

    dot = {"type": "point", "filled": True, "size": 16, "opacity": 1, "clip": True, "tooltip": None}
    return {
        **_frame(height),
        "params": strip_params(),
        "layer": [
            layer("ticks", _NOTHING, {"y": value_channel("y", "at")}),
            layer("view", _NOTHING, {"y": {"value": 0}}),
            band("q1", "q99", 0.16),
            band("q5", "q95", 0.2),
            band("q25", "q75", 0.3),
            line("low", 0.8, strokeDash=[2, 2], opacity=0.8),
            line("high", 0.8, strokeDash=[2, 2], opacity=0.8),
            line("q50", 1.8),
            layer("dots", dot, {"x": x, "y": value_channel("y", "q50"), "color": colour}),
            step_layer("#808080"),
            strip_layer(titles),
        ],
    }


@lru_cache(maxsize=16)
def ridge_spec(height: int = 420) -> Spec:
    """Return the specification of ridges: one outline for each of some steps, the oldest at the top and behind."""
    scale = {"type": "linear", "domain": _ends("y"), "nice": False, "zero": False}
    upright = {"type": "quantitative", "scale": scale, "axis": None}
    area = {"type": "area", "fillOpacity": 0.82, "stroke": "#808080", "strokeWidth": 0.7, "clip": True}
    outline = {
        "x": value_channel("x", "x", "value"),
        "y": {"field": "y1", **upright},
        "y2": {"field": "y0"},
        "detail": {"field": "ridge", "type": "nominal"},
        "color": {"field": "step", "type": "quantitative", "legend": None, "scale": {"zero": False, "nice": False}},
        "tooltip": [{"field": "step", "type": "quantitative", "title": "step", "format": ",d"}],
    }
    name = {"type": "text", "align": "right", "baseline": "middle", "dx": -8, "fontSize": 11, "color": "#808a96"}
    return {
        **_frame(height),
        "padding": {"left": AXIS_PX, "top": 4, "right": 6, "bottom": 0},
        "layer": [
            layer("ticks", _NOTHING, {"x": value_channel("x", "at", "value")}),
            layer("view", _NOTHING, {"y": {"value": 0}}),
            layer("ridges", area, outline),
            layer(
                "names",
                {**name, "tooltip": None},
                {"x": {"value": 0}, "y": {"field": "y", **upright}, "text": {"field": "step", "type": "nominal"}},
            ),
        ],
    }


@lru_cache(maxsize=128)
def slice_spec(domain: tuple[str, ...], names: tuple[str, ...], height: int = 280) -> Spec:
    """Return the specification of distributions over each other on the same bars.

    Args:
        domain: labels by place in the palette.
        names: what the tooltip calls each distribution, in the order of `v0`, `v1`, ...
        height: of the plot in pixels.
    """
    labels = tuple(label for label in domain if label.strip("\u2060"))
    colour = _colour(domain, labels if len(labels) > 1 else ())
    x = value_channel("x", "x", "value")
    scale = {"type": "linear", "domain": _ends("y"), "nice": False, "zero": False}
    axis = {"title": "share of values per bar", "format": ".3~p", "tickCount": 5, "minExtent": AXIS_PX}
    y = {"field": "y", "type": "quantitative", "scale": scale, "axis": axis, "stack": None}
    when = {"field": "when", "type": "nominal", "scale": {"domain": [NOW, THEN], "range": [[1, 0], [4, 3]]}}
    dash = {"strokeDash": {**when, "legend": None}}
    tooltip = [("at", "value"), *((f"v{k}", name) for k, name in enumerate(names))]
    strip = {
        "x": x,
        "x2": {"field": "x2"},
        "y": {"value": 0},
        "y2": {"value": {"expr": "height"}},
        "opacity": {"condition": [{"param": "pointed", "value": 0.14, "empty": False}], "value": 0},
        "tooltip": [{"field": field, "type": "nominal", "title": title} for field, title in tooltip],
    }
    pointed = {"type": "point", "fields": ["column"], "on": "pointerover", "clear": "pointerout"}
    area = {"type": "area", "interpolate": "step-after", "opacity": 0.22 if len(names) < 3 else 0.1, "tooltip": None}
    line = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.6, "tooltip": None}
    text = {"type": "text", "align": "left", "baseline": "middle", "dx": 6, "fontSize": 11, "tooltip": None}
    return {
        **_frame(height),
        "params": [{"name": "pointed", "select": pointed, "views": ["strips"]}],
        "layer": [
            layer("ticks", _NOTHING, {"x": value_channel("x", "at", "value")}),
            layer("view", _NOTHING, {"y": {"value": 0}}),
            layer("bars", area, {"x": x, "y": y, "color": colour, "detail": when}),
            layer("bars", line, {"x": x, "y": y, "color": colour, **dash}),
            layer("atoms", {"type": "rule", "strokeWidth": 2.5, "tooltip": None}, _atom(x, y, colour) | dash),
            layer(
                "atoms",
                text,
                {"x": x, "y": {"value": {"expr": "8 + 14 * datum.line"}}, "color": colour, "text": {"field": "text"}},
            ),
            layer("hover", {"type": "rect", "color": "#808080"}, strip, name="strips"),
        ],
    }


@lru_cache(maxsize=16)
def counts_spec(kinds: tuple[str, ...], with_steps: bool = False) -> Spec:
    """Return the specification of the strip over the steps that tells where values are NaN, infinite or exactly zero.

    Args:
        kinds: those of `KINDS` that occur.
        with_steps: whether the axis of steps is drawn, where no chart above has the same one.
    """
    encoding = {
        "x": step_channel("x") if with_steps else {**step_channel("x"), "axis": None},
        "x2": {"field": "x2"},
        "y": {
            "field": "kind",
            "type": "nominal",
            "scale": {"domain": list(kinds), "paddingInner": 0.12, "paddingOuter": 0},
            "axis": {"title": None, "minExtent": AXIS_PX, "domain": False, "ticks": False, "grid": False},
        },
        "color": {
            "field": "kind",
            "type": "nominal",
            "scale": {"domain": list(KINDS), "range": list(_KIND_COLOURS)},
            "legend": None,
        },
        "opacity": {
            "field": "share",
            "type": "quantitative",
            "scale": {"type": "sqrt", "domain": [0, 1], "range": [0.3, 1]},
            "legend": None,
        },
        "tooltip": [
            {"field": "at", "type": "nominal", "title": "step"},
            {"field": "told", "type": "nominal", "title": "values"},
        ],
    }
    return {
        # The app fits plot and axes into the height.
        **_frame(_ROW_PX * max(1, len(kinds)) + _FRAME_PX + (_AXIS_PX if with_steps else 0)),
        "layer": [
            layer("view", _NOTHING, {"y": {"value": 0}}),
            layer("counts", {"type": "rect", "clip": True}, encoding),
        ],
    }


_NOTHING: Final[Spec] = {"type": "rule", "opacity": 0, "tooltip": None}


def _frame(height: int) -> Spec:
    return {
        "height": height,
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 3},
        "config": {"mark": {"aria": False}},
        # Streamlit sets the renderer by the number of rows when it is left open, which would make a new chart.
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
    }


def _ends(channel: str) -> list[Spec]:
    return [
        {"expr": f"length(data('view')) ? data('view')[0].{channel}_{end} : {default}"}
        for end, default in (("low", 0), ("high", 1))
    ]


def _colour(domain: tuple[str, ...], legend: tuple[str, ...] = ()) -> Spec:
    box = {
        "title": None,
        "orient": "bottom",
        "values": list(legend),
        "labelLimit": 260,
        "symbolType": "stroke",
        "symbolStrokeWidth": 2.5,
        "symbolOpacity": 1,
        "offset": 4,
    }
    scale = {"domain": list(domain)}
    return {"field": "series", "type": "nominal", "scale": scale, "legend": box if legend else None}


def _atom(x: Spec, y: Spec, colour: Spec) -> Spec:
    return {"x": x, "y": y, "y2": {"datum": 0}, "color": colour}
