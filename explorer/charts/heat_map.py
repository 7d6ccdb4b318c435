"""A heat map of a tensor's values over steps: one picture under Vega's axes, and strips that tell numbers.

| table | one row is | columns |
|---|---|---|
| image | the picture, one row | x, x2 (steps), url |
| hover | a strip of the plot | x, x2, column (number of the strip), at (text), t0 to t3 (text) |
| ticks | a tick of the value axis | at, label |
| legend | an end of the colour scale | share |
| step | the step that is looked at, one row or none | x |
| view | the ends of the axes, one row | x_low, x_high, y_low, y_high |

A rect for each cell would cost the browser a second for 50,000 of them; a picture costs the same whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.png import data_uri, indexed_png, ramp
from explorer.charts.step_axis import largest, pixel_columns
from explorer.charts.value_axis import ticks_table, value_channel

Spec = dict[str, Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BRUSH: Final = "brush"
TABLES: Final = ("image", "hover", "ticks", "legend", "view", "step")
HOVER_TITLES: Final = ("at", "t0", "t1", "t2", "t3")
MAX_COLUMNS: Final = 800
"""Of the picture. A browser leaves out whole columns where a plot has fewer pixels."""
MAX_STRIPS: Final = 300
_STRIPS: Final = "strips"
_ON_BLUE: Final = "#e8710a"  # seen on every colour of the scale, on light and on dark pages
# Of the picture as text in a table; a chart stays under 100 kB with everything else.
_MAX_URL_CHARS: Final = 84_000
_NUM_LEVELS: Final = (32, 16, 8)


@lru_cache(maxsize=64)
def heat_spec(titles: tuple[str, ...], height: int = 260) -> Spec:
    """Return the Vega-Lite specification of a heat map, whose data are the tables in `TABLES`; do not change it.

    The interval selection `brush` reports the steps that were dragged over.

    Args:
        titles: what the tooltip calls `at` and `t0` to `t3`.
        height: of the plot in pixels.
    """
    picture = {
        "x": step_channel("x"),
        "x2": {"field": "x2"},
        "y": {"value": 0},
        "y2": {"value": {"expr": "height"}},
        "url": {"field": "url", "type": "nominal"},
    }
    return {
        "height": height,
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
        "params": strip_params(),
        "layer": [
            layer("ticks", {"type": "rule", "opacity": 0, "tooltip": None}, {"y": value_channel("y", "at")}),
            layer("image", {"type": "image", "aspect": False, "smooth": False, "tooltip": None}, picture),
            layer("view", {"type": "rule", "opacity": 0, "tooltip": None}, {"y": {"value": 0}}),
            layer("legend", {"type": "point", "opacity": 0, "tooltip": None}, legend_encoding("share of values")),
            step_layer(),
            strip_layer(titles),
        ],
        "config": {"mark": {"aria": False}},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
    }


def layer(table: str, mark: Spec, encoding: Spec, **more: object) -> Spec:
    """Return a layer that draws a named table."""
    return {**more, "data": {"name": table}, "mark": mark, "encoding": encoding}


def strip_params() -> list[Spec]:
    """Return the params of a chart that has `strip_layer`: which strip is pointed at, and the brush."""
    pointed = {"type": "point", "fields": ["column"], "on": "pointerover", "clear": "pointerout"}
    mark = {"fill": "#808080", "fillOpacity": 0.15, "stroke": "#808080"}
    return [
        {"name": "pointed", "select": pointed, "views": [_STRIPS]},
        {"name": BRUSH, "select": {"type": "interval", "encodings": ["x"], "mark": mark}, "views": [_STRIPS]},
    ]


def strip_layer(titles: Sequence[str]) -> Spec:
    """Return the layer that draws `hover`: strips that carry the tooltip and take the brush."""
    encoding = {
        "x": step_channel("x"),
        "x2": {"field": "x2"},
        "y": {"value": 0},
        "y2": {"value": {"expr": "height"}},
        "opacity": {"condition": [{"param": "pointed", "value": 0.18, "empty": False}], "value": 0},
        "tooltip": [
            {"field": field, "type": "nominal", "title": title}
            for field, title in zip(HOVER_TITLES, titles, strict=False)
        ],
    }
    return layer("hover", {"type": "rect", "color": "#808080", "cursor": "crosshair"}, encoding, name=_STRIPS)


def step_layer(colour: str = _ON_BLUE) -> Spec:
    """Return the layer that draws `step`: a rule at the step that is looked at, if there is one."""
    mark = {"type": "rule", "clip": True, "color": colour, "strokeWidth": 1.5, "strokeDash": [5, 3], "tooltip": None}
    return layer("step", mark, {"x": step_channel("x")})


def step_table(step: int | None) -> pa.Table:
    """Return `step`; without a row when no step is looked at."""
    return arrow.table({"x": arrow.numbers([] if step is None else [float(step)])})


def step_channel(field: str) -> Spec:
    """Return the channel of steps, whose ends are in the table `view`."""
    ends = [
        {"expr": f"length(data('view')) ? data('view')[0].x_{end} : {default}"}
        for end, default in (("low", 0), ("high", 1))
    ]
    axis = {
        "title": "step",
        "titlePadding": 4,
        "tickMinStep": 1,
        "tickCount": 7,
        "labelFlush": True,
        "labelOverlap": "greedy",
        "grid": False,
        "format": ",d",
    }
    scale = {"type": "linear", "domain": ends, "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": scale}


def legend_encoding(title: str, form: str = ".3~p", exponent: float = 0.5) -> Spec:
    """Return the encoding of the table `legend`: nothing to see but the colour scale of the theme."""
    legend = {
        "title": title,
        "orient": "bottom",
        "direction": "horizontal",
        "titleOrient": "left",
        "titleLimit": 260,
        "titlePadding": 8,
        "gradientLength": 150,
        "gradientThickness": 8,
        "format": form,
        "tickCount": 3,
        "offset": 4,
    }
    scale = {"type": "pow", "exponent": exponent, "nice": False, "zero": True}
    colour = {"field": "share", "type": "quantitative", "scale": scale, "legend": legend}
    return {"x": {"value": 0}, "y": {"value": 0}, "color": colour}


def heat_tables(
    shares: npt.NDArray[Any],
    edges: Floats,
    window: tuple[float, float],
    colours: Sequence[str],
    hover: pa.Table,
    ticks: Sequence[tuple[float, str]],
    top: float | None = None,
    max_columns: int = MAX_COLUMNS,
) -> dict[str, pa.Table]:
    """Return the tables of a heat map.

    Args:
        shares: `[bins, n]`, the share of each sample's values in each cell; the first row is the smallest values.
        edges: float64[n + 1], where the cells of samples meet (see `sample_edges`).
        window: the steps on the x axis.
        colours: of the scale, `#rrggbb`, faintest first.
        hover: from `strips_table`.
        ticks: (place, label) on the value axis, in rows of `shares`.
        top: the share that has the strongest colour; None takes what most samples stay under.
        max_columns: of the picture, no more than the plot has pixels.
    """
    low, high = window
    top = strongest(shares) if top is None else top
    url = heat_picture(shares, edges, window, colours, top, max_columns)
    view = {"x_low": low, "x_high": high, "y_low": 0.0, "y_high": float(len(shares))}
    image = {"x": arrow.numbers([low]), "x2": arrow.numbers([high]), "url": arrow.texts([url])}
    return {
        "image": arrow.table(image),
        "hover": hover,
        "ticks": ticks_table(ticks),
        "legend": arrow.table({"share": arrow.numbers([0.0, top])}),
        "view": arrow.table({name: arrow.numbers([end]) for name, end in view.items()}),
        "step": step_table(None),
    }


def strongest(shares: npt.NDArray[Any]) -> float:
    """Return the share that gets the strongest colour: twice the middle of the samples' largest shares, at most all.

    So a few samples that stand on one value (zeros at the start) do not make all others pale.
    """
    largest = np.max(shares, axis=0, initial=0.0)
    filled = largest[largest > 0]
    return float(min(2 * np.median(filled), filled.max())) if len(filled) else 1.0


def heat_picture(
    shares: npt.NDArray[Any],
    edges: Floats,
    window: tuple[float, float],
    colours: Sequence[str],
    top: float,
    max_columns: int = MAX_COLUMNS,
) -> str:
    """Return the picture as a data address; columns where no sample is are clear.

    Colours follow the square root of the share. A column that several samples share shows, in each row, the largest
    share of any of them, so that what happened at one step is seen. A picture that would be too long is drawn with
    fewer colours, then with fewer columns.
    """
    num = max_columns
    while True:
        first, last = pixel_columns(edges, *window, num)
        cells = largest(shares, first, last)[::-1]
        strength = np.sqrt(np.clip(cells / top, 0.0, 1.0))
        for levels in _NUM_LEVELS:
            pixels = np.ceil(strength * (levels - 1)).astype(np.uint8) + np.uint8(1)
            pixels[:, first == last] = 0
            pixels[cells == 0] = 0
            palette = [(0, 0, 0), *ramp(colours, levels)]
            url = data_uri(indexed_png(pixels, palette, clear=0))
            if len(url) <= _MAX_URL_CHARS:
                return url
        num //= 2


def strips_table(edges: Floats, window: tuple[float, float], shown: Ints, texts: Sequence[Sequence[str]]) -> pa.Table:
    """Return `hover`: one strip for each sample in `shown`, which reaches to the next one.

    Args:
        edges: float64[n + 1], where the cells of samples meet.
        window: the steps on the x axis.
        shown: which samples have a strip (see `strip_samples`).
        texts: for each of `HOVER_TITLES`, one text per strip.
    """
    starts = np.maximum(edges[shown], window[0])
    ends = np.minimum(edges[np.append(shown[1:], len(edges) - 1)] if len(shown) else starts, window[1])
    columns = {
        "x": arrow.column(starts),
        "x2": arrow.column(ends),
        "column": arrow.column(np.arange(len(shown), dtype=np.int16)),
        **{name: arrow.texts(column) for name, column in zip(HOVER_TITLES, texts, strict=False)},
    }
    return arrow.table(columns)


def strip_samples(edges: Floats, window: tuple[float, float]) -> Ints:
    """Return the samples that have a strip of their own: those in the window, at most `MAX_STRIPS`, evenly."""
    inside = np.flatnonzero((edges[1:] > window[0]) & (edges[:-1] < window[1]))
    gap = -(-len(inside) // MAX_STRIPS) if len(inside) else 1
    shown: Ints = inside[::gap].astype(np.int64)
    return shown
