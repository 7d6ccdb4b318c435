"""A graph of boxes and arrows, painted with a number for each box; boxes and frames answer to the pointer.

| table | one row is | columns |
|---|---|---|
| frames | a frame around boxes | x, x2, y, y2, title |
| lines | a point of a line, in order | x, y, line |
| heads | the head of an arrow | x, y, angle |
| boxes | a box | x, x2, y, y2, xm, yn, yt (middle, and where the texts stand), name, note, fill, edge, ink, corner |
| chosen | the box or frame that is looked at, at most one | x, x2, y, y2 |
| legend | an end of the colour scale; empty for a graph that is not painted | share |
| hover | what can be pointed at and clicked: frames, then boxes | x, x2, y, y2, key, lit, t0 to t4 (texts) |
| view | what is shown at first, one row | x, width, height |

Lengths are pixels: at first one of them is one pixel of the chart, or less where the graph is wider than the chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.graph_picture import GraphPicture, Rect, fitting
from explorer.charts.heat_map import layer

Spec = dict[str, Any]
Kind = Literal["linear", "log", "diverging"]

CLICK: Final = "picked"
OPEN: Final = "opened"
TABLES: Final = ("frames", "lines", "heads", "boxes", "chosen", "legend", "hover", "view")
NUM_TIPS: Final = 5
_LEGEND_PX: Final = 46
_HITS: Final = "hits"
_BOX_LIT: Final = 0.14  # how much grey is laid over what is pointed at
_FRAME_LIT: Final = 0.04
_ACCENT: Final = "#e07b00"
_WHEEL: Final = "wheel![event.ctrlKey || event.metaKey || event.altKey]"
_NUMBER: Final = (
    "datum.value === 0 ? '0' : abs(datum.value) >= 1e6 || abs(datum.value) < 1e-4 ? format(datum.value, '.2~e') : "
    "format(datum.value, ',.3~r')"
)
_END: Final = "data('legend')[{}].share"
# Pixels of the screen to one of the picture: texts grow and shrink with their boxes.
_SCALE: Final = "abs(scale('x', 1) - scale('x', 0))"


@dataclass(frozen=True)
class Paint:
    """What the colours say.

    Attributes:
        title: of the colour scale, with its unit.
        kind: of the scale.
        colours: of its ends and what is between, `#rrggbb`.
    """

    title: str
    kind: Kind
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """Colours of what is not painted, `#rrggbb`: lines, quiet texts and frames."""

    line: str
    quiet: str
    frame: str


@dataclass(frozen=True)
class Shade:
    """Colours of a box, `#rrggbb`: inside, around, of its texts; and the radius of its corners."""

    fill: str
    edge: str
    ink: str
    corner: int = 5


@lru_cache(maxsize=64)
def graph_spec(height: int, look: Look, titles: tuple[str, ...], paint: Paint | None) -> Spec:
    """Return the Vega-Lite specification of a graph, whose data are the tables in `TABLES`; do not change it.

    The point selections `picked` (a click) and `opened` (a double click) report `key`.

    Args:
        height: of the picture in pixels.
        look: colours.
        titles: what the tooltip calls `t0` to `t4`; an empty one leaves out the line.
        paint: what the colours of boxes say; None for nothing.
    """
    x, y = _place("x"), _place("y")
    ends = {"x": x, "x2": {"field": "x2"}, "y": y, "y2": {"field": "y2"}}
    frame = {"type": "rect", "fill": look.frame, "fillOpacity": 0.35, "stroke": look.line, "strokeDash": [4, 3]}
    title = _text(11, "bold", look.quiet) | {"align": "left", "dx": 8, "dy": 12}
    line = {"type": "line", "strokeWidth": 1.4, "color": look.line, "tooltip": None}
    head = {"type": "point", "shape": "triangle-down", "filled": True, "size": 46, "opacity": 1, "color": look.line}
    box = {"type": "rect", "strokeWidth": 1.3, "tooltip": None}
    around = {"type": "rect", "fillOpacity": 0, "stroke": _ACCENT, "strokeWidth": 2.4, "cornerRadius": 6}
    hits = {"type": "rect", "fill": "#808080", "stroke": "#808080", "cursor": "pointer"}
    pointed = {"param": "pointed", "empty": False, "field": "lit", "type": "quantitative", "scale": None}
    lit = {"condition": pointed, "value": 0.001}
    tips = [{"field": f"t{k}", "type": "nominal", "title": name} for k, name in enumerate(titles) if name]
    middle = {"x": {**x, "field": "xm"}}
    own = {name: {"field": name, "type": "nominal", "scale": None, "legend": None} for name in ("fill", "edge", "ink")}
    named = {**middle, "y": {**y, "field": "yn"}, "text": {"field": "name", "type": "nominal"}, "color": own["ink"]}
    noted = {**middle, "y": {**y, "field": "yt"}, "text": {"field": "note", "type": "nominal"}, "color": own["ink"]}
    return {
        "height": height + (_LEGEND_PX if paint else 0),
        "padding": {"left": 0, "top": 0, "right": 0, "bottom": 0},
        "params": [
            {"name": "pointed", "select": _point("pointerover", "pointerout"), "views": [_HITS]},
            {"name": CLICK, "select": _point("click") | {"toggle": False}, "views": [_HITS]},
            {"name": OPEN, "select": _point("dblclick") | {"toggle": False}, "views": [_HITS]},
            {
                "name": "zoom",
                "select": {"type": "interval", "encodings": ["x", "y"], "zoom": _WHEEL},
                "bind": "scales",
                "views": [_HITS],
            },
        ],
        "layer": [
            layer("view", {"type": "rule", "opacity": 0, "tooltip": None}, {"x": {"value": 0}, "y": {"value": 0}}),
            layer("frames", {**frame, "cornerRadius": 8, "tooltip": None}, ends),
            layer("frames", title, {"x": x, "y": {**y, "field": "y2"}, "text": {"field": "title", "type": "nominal"}}),
            layer(
                "lines",
                line,
                {"x": x, "y": y, "detail": {"field": "line", "type": "nominal"}, "order": {"field": "order"}},
            ),
            layer(
                "heads",
                {**head, "tooltip": None},
                {"x": x, "y": y, "angle": {"field": "angle", "type": "quantitative", "scale": None}},
            ),
            layer(
                "boxes",
                {**box, "cornerRadius": {"expr": "datum.corner"}},
                {**ends, "fill": own["fill"], "stroke": own["edge"]},
            ),
            layer("boxes", _text(12, "bold", None), named),
            layer("boxes", _text(11, "normal", None) | {"opacity": 0.9}, noted),
            layer("chosen", {**around, "tooltip": None}, ends),
            *([layer("legend", {"type": "point", "opacity": 0, "tooltip": None}, _legend(paint))] if paint else []),
            layer(
                "hover", hits, {**ends, "fillOpacity": lit, "strokeOpacity": {"value": 0}, "tooltip": tips}, name=_HITS
            ),
        ],
        # Texts bring their colours with them; the scale is only for the legend.
        "resolve": {"scale": {"color": "independent"}, "legend": {"color": "independent"}},
        "config": {"mark": {"aria": False}, "view": {"stroke": None}},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
    }


def graph_tables(
    picture: GraphPicture,
    shades: Sequence[Shade],
    tips: Mapping[str, Sequence[str]],
    ends: tuple[float, float] | None,
    chosen: str | None = None,
) -> dict[str, pa.Table]:
    """Return the tables of a graph.

    Args:
        picture: where everything is.
        shades: of each box.
        tips: `NUM_TIPS` texts for the tooltip of each key of a box or frame.
        ends: of the colour scale; None for a graph that is not painted.
        chosen: key of the box or frame that is looked at; None or another one marks nothing.
    """
    frames = [(frame.key, rect) for frame, rect in picture.frames]
    boxes = [(item.key, rect) for item, rect in zip(picture.items, picture.boxes, strict=True)]
    points = [(x, y, k) for k, line in enumerate(picture.arrows) for x, y in line.points]
    heads = [(line.tip[0], line.tip[1] + (4 if line.is_upward else -4), line.is_upward) for line in picture.arrows]
    found = [rect for key, rect in [*frames, *boxes] if key == chosen][-1:]
    bounds = picture.bounds
    view = {"x": (bounds.left + bounds.right) / 2, "width": bounds.right - bounds.left, "height": bounds.bottom}
    hits = [*frames, *boxes]
    return {
        "frames": arrow.table(
            _rects([rect for _, rect in frames]) | {"title": arrow.texts([frame.title for frame, _ in picture.frames])}
        ),
        "lines": arrow.table(
            {
                "x": arrow.numbers([x for x, _, _ in points]),
                "y": arrow.numbers([-y for _, y, _ in points]),
                "line": arrow.numbers([k for _, _, k in points], pa.int64()),
                "order": arrow.numbers(list(range(len(points))), pa.int64()),
            }
        ),
        "heads": arrow.table(
            {
                "x": arrow.numbers([x for x, _, _ in heads]),
                "y": arrow.numbers([-y for _, y, _ in heads]),
                "angle": arrow.numbers([180.0 if up else 0.0 for _, _, up in heads]),
            }
        ),
        "boxes": arrow.table(_rects([rect for _, rect in boxes]) | _texts(picture) | _shades(shades)),
        "chosen": arrow.table(_rects([Rect(r.left - 2, r.top - 2, r.right + 2, r.bottom + 2) for r in found])),
        "legend": arrow.table({"share": arrow.numbers(list(ends or ()))}),
        "hover": arrow.table(
            _rects([rect for _, rect in hits])
            | {"key": arrow.texts([key for key, _ in hits])}
            | {"lit": arrow.numbers([_FRAME_LIT] * len(frames) + [_BOX_LIT] * len(boxes))}
            | {f"t{k}": arrow.texts([tips[key][k] for key, _ in hits]) for k in range(NUM_TIPS)}
        ),
        "view": arrow.table({name: arrow.numbers([value]) for name, value in view.items()}),
    }


def _rects(rects: Sequence[Rect]) -> dict[str, pa.Array]:
    return {
        "x": arrow.numbers([rect.left for rect in rects]),
        "x2": arrow.numbers([rect.right for rect in rects]),
        "y": arrow.numbers([-rect.bottom for rect in rects]),
        "y2": arrow.numbers([-rect.top for rect in rects]),
    }


def _texts(picture: GraphPicture) -> dict[str, pa.Array]:
    """Names and notes; a name without a note stands in the middle of its box."""
    items, rects = picture.items, picture.boxes
    middle = [(rect.top + rect.bottom) / 2 for rect in rects]
    return {
        "xm": arrow.numbers([(rect.left + rect.right) / 2 for rect in rects]),
        "yn": arrow.numbers([-(y - 7.5 if item.note else y) for y, item in zip(middle, items, strict=True)]),
        "yt": arrow.numbers([-(y + 8.5) for y in middle]),
        "name": arrow.texts([fitting(item.name, is_name=True) for item in items]),
        "note": arrow.texts([fitting(item.note, is_name=False) for item in items]),
    }


def _shades(shades: Sequence[Shade]) -> dict[str, pa.Array]:
    return {
        "fill": arrow.texts([shade.fill for shade in shades]),
        "edge": arrow.texts([shade.edge for shade in shades]),
        "ink": arrow.texts([shade.ink for shade in shades]),
        "corner": arrow.numbers([shade.corner for shade in shades], pa.int64()),
    }


def _place(channel: Literal["x", "y"]) -> Spec:
    """A pixel of the picture is one of the chart, as long as the chart is wide enough."""
    view = "data('view')[0]"
    there = "length(data('view'))"
    share = f"max(1, {view}.width / max(width, 1), {view}.height / max(height, 1))"
    if channel == "x":
        low = f"{there} ? {view}.x - width / 2 * {share} : 0"
        high = f"{there} ? {view}.x + width / 2 * {share} : 1"
    else:
        low, high = f"{there} ? -height * {share} : -1", "0"
    scale = {"type": "linear", "domain": [{"expr": low}, {"expr": high}], "nice": False, "zero": False}
    return {"field": channel, "type": "quantitative", "axis": None, "scale": scale}


def _point(event: str, clear: str | bool = False) -> Spec:
    return {"type": "point", "fields": ["key"], "on": event, "clear": clear}


def _text(size: int, weight: str, colour: str | None) -> Spec:
    mark: Spec = {"type": "text", "align": "center", "baseline": "middle", "fontWeight": weight, "tooltip": None}
    mark["fontSize"] = {"expr": f"{size} * min(1.6, {_SCALE})"}
    return mark | ({"color": colour} if colour else {})


def _legend(paint: Paint | None) -> Spec:
    """Nothing to see but the colour scale."""
    if paint is None:
        return {}
    one, other = _END.format(0), _END.format(1)
    middle = f"sqrt({one} * {other})" if paint.kind == "log" else f"({one} + {other}) / 2"
    legend = {
        "title": paint.title,
        "orient": "top",
        "direction": "horizontal",
        "titleOrient": "left",
        "titleLimit": 300,
        "titlePadding": 8,
        "gradientLength": 200,
        "gradientThickness": 9,
        "labelExpr": _NUMBER,
        "values": {"expr": f"length(data('legend')) == 2 ? [{one}, {middle}, {other}] : []"},
        "offset": 4,
    }
    scale: Spec = {
        "type": "log" if paint.kind == "log" else "linear",
        "range": list(paint.colours),
        "interpolate": "rgb",
        "nice": False,
        **({} if paint.kind == "log" else {"zero": False}),
    }
    colour = {"field": "share", "type": "quantitative", "scale": scale, "legend": legend}
    return {"x": {"value": 0}, "y": {"value": 0}, "color": colour}
