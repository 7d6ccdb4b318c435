"""Curves of one metric over several series: a specification that never changes while only its data do.

A chart reads five named tables (see `explorer.charts.tables`), so that a zoom or a live update swaps rows in the living
view. Ranges of the axes are data too: the table `view` holds them, and the scales read it. Text that comes from files
(labels of series, names of metrics) is data or a title here, never the name of a field and never part of an expression.

Specifications are plain Vega-Lite: altair, which would write the same, costs the app 0.2 s and 28 MiB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from explorer.charts.guides import Spec, can_choose, colour, colours, dash, x, x_axis, y, y_axis
from explorer.charts.look import MAX_HOVER, CurveLook

# The params and tables of the specification; the app swaps the tables and listens to the zoom.
ZOOM: Final = "zoom"
TABLES: Final = ("lines", "dots", "marks", "hover", "view")
NON_FINITE: Final = ("NaN", "+Inf", "-Inf")

_WHEEL: Final = "wheel![event.ctrlKey || event.metaKey || event.altKey]"
# The layers that listen: to the legend, and to the pointer.
_RAW: Final = "raw"
_STRIPS: Final = "strips"
# The sign of NaN: two strokes, unlike anything else that is drawn.
_SALTIRE: Final = "M-.8,-.8L.8,.8M-.8,.8L.8,-.8"


@lru_cache(maxsize=512)
def curves_spec(look: CurveLook) -> Spec:
    """Return the Vega-Lite specification of `look`, made once per look; do not change it.

    Its data are the tables named in `TABLES`, to be added as `datasets`.

    Layers from back to front: band of each pixel column, raw line, smoothed line, dots of sparse series, marks of
    values that are not finite, and strips that carry the tooltip. The interval selection `zoom` is bound to the x
    axis: drag moves, Ctrl (or Alt, or Command) with the wheel and a pinch zoom, a double click resets.
    """
    raw_opacity = 0.28 if look.smooth else 1.0
    raw = {"type": "line", "clip": True, "strokeWidth": 1.0 if look.smooth else 1.4, "tooltip": None}
    smooth = {"type": "line", "clip": True, "strokeWidth": 1.9, "tooltip": None}
    dots = {"type": "point", "clip": True, "filled": True, "size": 22, "tooltip": None}
    layers = [
        _band(look),
        _layer("lines", raw, _line(look, "y", raw_opacity), name=_RAW),
        *([_layer("lines", smooth, _line(look, "smooth", 1.0))] if look.smooth else []),
        _layer("dots", dots, _dot(look, raw_opacity)),
        _marks(look),
        # Vega keeps only tables that some layer reads; the scales read this one by name.
        _layer("view", {"type": "rule", "opacity": 0, "tooltip": None}, {"y": {"value": 0}}),
        _hover(look),
    ]
    return {
        **({"title": look.title} if look.title else {}),
        "height": look.height,
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
        "params": _params(look),
        "layer": layers,
        # Streamlit sets both by the number of rows when they are left open, which would make a new chart of new data.
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
        "config": {"mark": {"aria": False}},
    }


def _layer(table: str, mark: Spec, encoding: Spec, **more: object) -> Spec:
    return {**more, "data": {"name": table}, "mark": mark, "encoding": encoding}


def _params(look: CurveLook) -> list[Spec]:
    highlight = {"name": "highlight", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}
    pointed = {"type": "point", "fields": ["column"], "on": "pointerover", "clear": "pointerout"}
    zoom = {"type": "interval", "encodings": ["x"], "zoom": _WHEEL}
    return [
        *([{**highlight, "views": [_RAW]}] if can_choose(look) else []),
        {"name": "pointed", "select": pointed, "views": [_STRIPS]},
        {"name": ZOOM, "select": zoom, "bind": "scales", "views": [_STRIPS]},
    ]


def _lit(look: CurveLook, value: float) -> Spec:
    """Opaque as it is, and faint while another series is chosen in the legend."""
    if not can_choose(look):
        return {"value": value}
    return {"condition": {"param": "highlight", "value": value}, "value": value * 0.12}


def _band(look: CurveLook) -> Spec:
    encoding = {
        "x": x_axis(look),
        "y": y_axis(look, "low"),
        "y2": {"field": "high"},
        "color": colours(look),
        "opacity": _lit(look, 0.14 if look.smooth else 0.28),
    }
    mark = {"type": "area", "clip": True, "line": False, "tooltip": None}
    return _layer("lines", mark, encoding, transform=[{"filter": "isValid(datum.low)"}])


def _line(look: CurveLook, field: str, opacity: float) -> Spec:
    # The browser evaluates every channel for every row: what would be the same for all of them is left out.
    lit = _lit(look, opacity)
    return {"x": x(look), "y": y(field), "color": colour(look), "opacity": lit, **dash(look)}


def _dot(look: CurveLook, opacity: float) -> Spec:
    return {"x": x(look), "y": y("y"), "color": colour(look), "opacity": _lit(look, opacity)}


def _marks(look: CurveLook) -> Spec:
    scale = {"domain": list(NON_FINITE), "range": [_SALTIRE, "triangle-up", "triangle-down"]}
    encoding = {
        "x": x(look),
        "y": {"value": {"expr": "height - 7"}},
        "color": colour(look),
        "opacity": _lit(look, 1.0),
        "shape": {"field": "kind", "type": "nominal", "scale": scale, "legend": None},
    }
    mark = {"type": "point", "clip": True, "filled": False, "size": 46, "strokeWidth": 1.6, "tooltip": None}
    return _layer("marks", mark, encoding)


def _hover(look: CurveLook) -> Spec:
    names = [("at", look.x_title), *((f"v{k}", _key(name)) for k, name in enumerate(look.shown[:MAX_HOVER]))]
    if len(look.shown) > MAX_HOVER:
        names.append(("more", "…"))
    encoding = {
        "x": x(look),
        "x2": {"field": "x2"},
        "y": {"value": 0},
        "y2": {"value": {"expr": "height"}},
        "opacity": {"condition": [{"param": "pointed", "value": 0.16, "empty": False}], "value": 0},
        "tooltip": [{"field": field, "type": "nominal", "title": title} for field, title in names],
    }
    return _layer("hover", {"type": "rect", "clip": True, "color": "#808080"}, encoding, name=_STRIPS)


def _key(name: str) -> str:
    """A tooltip treats the keys `title` and `image` in its own way; a name must not be one."""
    return name + "\u2060" if name in ("title", "image") else name
