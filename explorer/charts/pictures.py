"""A matrix as one picture under Vega's axes: weights, layers by steps, layers by layers.

| table | one row is | columns |
|---|---|---|
| image | the picture, one row | url |
| cells | a part of the plot that tells its values | x, x2, y, y2, cell (number), t0 to t3 (text) |
| x_ticks, y_ticks | a tick of an axis | at, label |
| legend | an end of the colour scale | value |
| view | the ends of the axes, one row | x_low, x_high, y_low, y_high |

Places on both axes are columns and rows of the matrix, row 0 at the top. Labels are data, so that names from files are
never part of an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.png import data_uri, indexed_png, ramp

Spec = dict[str, Any]
Values = npt.NDArray[Any]
Scheme = Literal["sequential", "diverging"]

TABLES: Final = ("image", "cells", "x_ticks", "y_ticks", "legend", "view")
MAX_CELLS: Final = 1_200
# Six bits each are at most 60,000 characters, so a chart stays under 100 kB with its tooltips.
MAX_PIXELS: Final = 60_000
_NUM_LEVELS: Final = 63
_AXES_PX: Final = 92
_NAMES_PX: Final = 70
_TEXTS: Final = ("t0", "t1", "t2", "t3")
# What is not a number: no colour of either scale is near it, in light and in dark.
BAD: Final = (214, 51, 160)
# What has no logarithm: 0, and values below it.
BELOW: Final = (128, 128, 128)


@dataclass(frozen=True, kw_only=True)
class PictureLook:
    """What the specification of a picture depends on; two equal looks give one specification.

    Attributes:
        tips: titles of the texts t0, t1, ... of a cell.
        scheme: `diverging` has its middle at 0.
        log: whether the numbers are logarithms to base 10 of what the legend tells.
        height: of the plot in pixels; what axes and legend need is added.
        x_title, y_title: of the axes.
        legend: title of the colour scale, with its unit.
        y_extent: pixels that are kept for the labels of the y axis at least.
        slant: whether labels of the x axis stand aslant, for names.
    """

    tips: tuple[str, ...]
    scheme: Scheme = "sequential"
    log: bool = False
    height: int = 320
    x_title: str | None = None
    y_title: str | None = None
    legend: str = "value"
    y_extent: int = 44
    slant: bool = False


@lru_cache(maxsize=128)
def picture_spec(look: PictureLook) -> Spec:
    """Return the Vega-Lite specification, whose data are the tables in `TABLES`; do not change it."""
    whole = {
        "x": {"value": 0},
        "x2": {"value": {"expr": "width"}},
        "y": {"value": 0},
        "y2": {"value": {"expr": "height"}},
    }
    image = {**whole, "url": {"field": "url", "type": "nominal"}}
    cell = {
        "x": _channel("x", "x", look),
        "x2": {"field": "x2"},
        "y": _channel("y", "y", look),
        "y2": {"field": "y2"},
        "opacity": {"condition": [{"param": "pointed", "value": 0.3, "empty": False}], "value": 0},
        "tooltip": [
            {"field": field, "type": "nominal", "title": title} for field, title in zip(_TEXTS, look.tips, strict=False)
        ],
    }
    pointed = {"type": "point", "fields": ["cell"], "on": "pointerover", "clear": "pointerout"}
    nothing = {"type": "rule", "opacity": 0, "tooltip": None}
    return {
        # The app gives a chart as much room as it says, with axes and legend.
        "height": look.height + (_AXES_PX + _NAMES_PX if look.slant else _AXES_PX),
        "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
        "params": [{"name": "pointed", "select": pointed, "views": ["cells"]}],
        "layer": [
            _layer("x_ticks", nothing, {"x": _channel("x", "at", look)}),
            _layer("y_ticks", nothing, {"y": _channel("y", "at", look)}),
            _layer("image", {"type": "image", "aspect": False, "smooth": False, "tooltip": None}, image),
            _layer("view", nothing, {"y": {"value": 0}}),
            _layer("legend", {"type": "point", "opacity": 0, "tooltip": None}, _legend(look)),
            _layer("cells", {"type": "rect", "color": "#808080", "cursor": "crosshair"}, cell, name="cells"),
        ],
        "config": {"mark": {"aria": False}},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
    }


def _layer(table: str, mark: Spec, encoding: Spec, **more: object) -> Spec:
    return {**more, "data": {"name": table}, "mark": mark, "encoding": encoding}


def _channel(axis: Literal["x", "y"], field: str, look: PictureLook) -> Spec:
    ends = [
        {"expr": f"length(data('view')) ? data('view')[0].{axis}_{end} : {k}"} for k, end in enumerate(("low", "high"))
    ]
    at = f"pluck(data('{axis}_ticks'), 'at')"
    guide: Spec = {
        "title": look.x_title if axis == "x" else look.y_title,
        "values": {"expr": at},
        "labelExpr": f"data('{axis}_ticks')[max(0, indexof({at}, datum.value))].label",
        "titlePadding": 4,
        "labelOverlap": True,
        "grid": False,
        "ticks": False,
        "domain": False,
        "labelLimit": 240,
    }
    if axis == "y":
        guide |= {"minExtent": look.y_extent, "maxExtent": 260, "labelPadding": 4}
    elif look.slant:
        guide |= {"labelAngle": -40, "labelAlign": "right", "labelLimit": 150}
    scale = {"type": "linear", "domain": ends, "nice": False, "zero": False, "reverse": axis == "y"}
    return {"field": field, "type": "quantitative", "axis": guide, "scale": scale}


def _legend(look: PictureLook) -> Spec:
    legend: Spec = {
        "title": look.legend,
        "orient": "bottom",
        "direction": "horizontal",
        "titleOrient": "left",
        "titleLimit": 420,
        "titlePadding": 8,
        "gradientLength": 170,
        "gradientThickness": 8,
        "tickCount": 3,
        "offset": 4,
    }
    if look.log:
        legend["labelExpr"] = "format(pow(10, datum.value), '.2~g')"
    else:
        legend["format"] = ".3~g"
    scale = {"nice": False, "zero": False, **({"domainMid": 0} if look.scheme == "diverging" else {})}
    return {
        "x": {"value": 0},
        "y": {"value": 0},
        "color": {"field": "value", "type": "quantitative", "scale": scale, "legend": legend},
    }


@dataclass(frozen=True, eq=False)
class Cells:
    """Parts of the plot that tell their values: float64[n] ends in columns and rows, and n texts for each tip."""

    x: npt.NDArray[np.float64]
    x2: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    y2: npt.NDArray[np.float64]
    texts: Sequence[Sequence[str]]


Ticks = Sequence[tuple[float, str]]


def picture_tables(
    values: Values, colours: Sequence[str], ends: tuple[float, float], cells: Cells, x_ticks: Ticks, y_ticks: Ticks,
    *, log: bool = False,
) -> dict[str, pa.Table]:  # fmt: skip
    """Return the tables of a picture.

    Args:
        values: `[rows, columns]`, at most `MAX_PIXELS`, row 0 at the top; what is not finite has a colour of its own,
            and a masked value of a masked array none at all.
        colours: of the scale, `#rrggbb`, lowest first.
        ends: values that have the first and the last colour; what is beyond has the same.
        cells: what the tooltip tells.
        x_ticks: place in columns and label.
        y_ticks: place in rows and label.
        log: whether the values are logarithms: -inf, which 0 has, is then grey.
    """
    rows, columns = values.shape
    view = {"x_low": 0.0, "x_high": float(max(columns, 1)), "y_low": 0.0, "y_high": float(max(rows, 1))}
    numbers = {name: arrow.column(getattr(cells, name).astype(np.float32)) for name in ("x", "x2", "y", "y2")}
    texts = {field: _texts(column) for field, column in zip(_TEXTS, cells.texts, strict=False)}
    number = {"cell": arrow.column(np.arange(len(cells.x), dtype=np.int16))}
    return {
        "image": arrow.table({"url": arrow.texts([picture_url(values, colours, ends, log=log)])}),
        "cells": arrow.table({**numbers, **number, **texts}),
        "x_ticks": _ticks(x_ticks),
        "y_ticks": _ticks(y_ticks),
        "legend": arrow.table({"value": arrow.numbers(list(ends))}),
        "view": arrow.table({name: arrow.numbers([end]) for name, end in view.items()}),
    }


def _texts(column: Sequence[str]) -> pa.Array:
    """Each text once, where that is shorter: a name stands in every cell of its row."""
    places = {text: place for place, text in enumerate(dict.fromkeys(column))}
    if 2 * len(places) > len(column) or len(places) > 32_000:
        return arrow.texts(column)
    dtype = np.int8 if len(places) < 128 else np.int16
    return arrow.codes(np.array([places[text] for text in column], dtype=dtype), list(places))


def _ticks(ticks: Ticks) -> pa.Table:
    return arrow.table(
        {"at": arrow.numbers([at for at, _ in ticks]), "label": arrow.texts([text for _, text in ticks])}
    )


def picture_url(values: Values, colours: Sequence[str], ends: tuple[float, float], *, log: bool = False) -> str:
    """Return the picture as a data address of at most 80,000 characters; see `picture_tables`.

    Raises:
        ValueError: there are more than `MAX_PIXELS` values; average them first (`explorer.charts.weights`).
    """
    if values.size > MAX_PIXELS:
        raise ValueError(f"a picture has at most {MAX_PIXELS:,} pixels; found {values.size:,}: average them first")
    masked = np.ma.getmaskarray(values)
    plain = np.asarray(np.ma.getdata(values), dtype=np.float64)
    if not plain.size:
        return ""
    low, high = ends
    finite = np.isfinite(plain)
    share = np.clip((np.where(finite, plain, low) - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    pixels = np.round(share * (_NUM_LEVELS - 1)).astype(np.uint8) + np.uint8(2)
    pixels[~finite] = 1
    palette = [(0, 0, 0), BAD, *ramp(colours, _NUM_LEVELS)]
    if log:
        pixels[plain == -np.inf] = len(palette)
        palette.append(BELOW)
    pixels[masked] = 0
    return data_uri(indexed_png(pixels, palette, clear=0))


def blocks_of_cells(rows: int, columns: int, most: int = MAX_CELLS) -> tuple[int, int]:
    """Return how many rows and columns one cell of the tooltip spans, so that there are at most `most` cells.

    >>> blocks_of_cells(10, 20), blocks_of_cells(512, 1000), blocks_of_cells(1, 100_000)
    ((1, 1), (21, 21), (1, 84))
    """
    tall = wide = 1
    while -(-rows // tall) * -(-columns // wide) > most:
        if -(-rows // tall) > 1 and tall <= wide:
            tall += 1
        else:
            wide += 1
    return min(tall, max(rows, 1)), wide
