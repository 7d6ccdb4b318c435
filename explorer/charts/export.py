"""A chart that stands on its own: what a picture of it needs besides the specification that the app swaps data in."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from explorer.charts.curves import TABLES, curves_spec
from explorer.charts.look import CurveLook

_LIGHT: Final = {"text": "#1b2430", "quiet": "#5b6675", "grid": "#e3e8ee", "page": "#ffffff"}
WIDTH: Final = 900
_HEIGHT: Final = 460
# A picture has no tooltip and no list of runs beside it.
_MAX_LEGEND: Final = 40
_CAPTION_CHARS: Final = 140


def export_spec(
    look: CurveLook, tables: Mapping[str, pa.Table], palette: Sequence[str], caption: str = ""
) -> dict[str, Any]:
    """Return a specification of curves that stands on its own: data, colours, fonts, title and what is drawn.

    Args:
        look: of the chart; its `title` is drawn above the plot.
        tables: the data.
        palette: colours by place.
        caption: what is drawn, under the title.
    """
    spec = curves_spec(replace(look, max_legend=_MAX_LEGEND, legend_px=WIDTH - 80))
    return standalone(spec, {name: tables[name] for name in TABLES}, palette, (), look.title, caption, _HEIGHT)


def standalone(
    spec: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
    palette: Sequence[str],
    ramp: Sequence[str],
    title: str,
    caption: str,
    height: int,
    *,
    width: int = WIDTH,
    pointer: str = "hover",
) -> dict[str, Any]:
    """Return a specification that draws a picture: what the app's theme would bring is in it, and nothing answers.

    Args:
        spec: of the chart, whose layers read tables by name.
        tables: the data.
        palette: colours of series by place.
        ramp: colours of a scale of numbers, lowest first; empty for the drawing program's own.
        title: of the picture.
        caption: what is drawn, under the title.
        height: of the whole picture, in units of it.
        width: of it.
        pointer: the table of the layer that answers to the pointer alone; it is left out.
    """
    made: dict[str, Any] = dict(spec)
    # A picture has no pointer: what answers to one is left out.
    made["layer"] = [layer for layer in made["layer"] if layer["data"].get("name") != pointer]
    left = {layer.get("name") for layer in made["layer"]}
    params = [param for param in made.get("params", []) if set(param.get("views", [])) <= left]
    made["params"] = [param for param in params if param.get("bind") != "scales"]
    made["datasets"] = {name: found.to_pylist() for name, found in tables.items() if name != pointer}
    made.update(width=width, height=height, padding=16, background=_LIGHT["page"])
    made["autosize"] = {"type": "fit", "contains": "padding"}
    made["title"] = {
        "text": title,
        "subtitle": textwrap.wrap(caption, width * _CAPTION_CHARS // WIDTH),
        "anchor": "start",
        "offset": 14,
        "limit": width - 60,
    }
    made["config"] = _config(palette, ramp)
    made.pop("usermeta", None)
    return made


def _config(palette: Sequence[str], ramp: Sequence[str]) -> dict[str, Any]:
    colours: dict[str, Any] = {"category": list(palette)}
    if ramp:
        colours |= {"ramp": list(ramp), "heatmap": list(ramp), "diverging": list(ramp)}
    return {
        # The family that the drawing program brings its own fonts for: any other name may be drawn as nothing at all.
        "font": "sans-serif",
        "range": colours,
        "view": {"stroke": None},
        "title": {
            "color": _LIGHT["text"],
            "fontSize": 17,
            "subtitleColor": _LIGHT["quiet"],
            "subtitleFontSize": 12,
            "subtitlePadding": 6,
        },
        "axis": {
            "labelColor": _LIGHT["quiet"],
            "titleColor": _LIGHT["quiet"],
            "labelFontSize": 12,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "gridColor": _LIGHT["grid"],
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
        },
        "legend": {"labelColor": _LIGHT["text"], "labelFontSize": 12},
    }
