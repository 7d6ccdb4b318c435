"""A chart that stands on its own: what a picture of it needs besides the specification that the app swaps data in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from explorer.charts.curves import TABLES, ZOOM, curves_spec
from explorer.charts.look import CurveLook

_LIGHT: Final = {"text": "#1b2430", "quiet": "#5b6675", "grid": "#e3e8ee", "page": "#ffffff"}
_WIDTH: Final = 900
_HEIGHT: Final = 460
# A picture has no tooltip and no list of runs beside it.
_MAX_LEGEND: Final = 40


def export_spec(
    look: CurveLook, tables: Mapping[str, pa.Table], palette: tuple[str, ...], caption: str = ""
) -> dict[str, Any]:
    """Return a specification that stands on its own: data, colours, fonts, title and what is drawn.

    Args:
        look: of the chart; its `title` is drawn above the plot.
        tables: the data.
        palette: colours by place.
        caption: what is drawn, under the title.
    """
    spec: dict[str, Any] = dict(curves_spec(replace(look, max_legend=_MAX_LEGEND, legend_px=_WIDTH - 80)))
    # A picture has no pointer: what answers to one is left out.
    spec["layer"] = [layer for layer in spec["layer"] if layer["data"]["name"] != "hover"]
    spec["params"] = [param for param in spec["params"] if param["name"] not in (ZOOM, "pointed")]
    spec["datasets"] = {name: tables[name].to_pylist() for name in TABLES if name != "hover"}
    spec.update(width=_WIDTH, height=_HEIGHT, padding=16, background=_LIGHT["page"])
    spec["autosize"] = {"type": "fit", "contains": "padding"}
    spec["title"] = {"text": look.title, "subtitle": caption, "anchor": "start", "offset": 14, "limit": _WIDTH - 60}
    spec["config"] = {
        # The family that the drawing program brings its own fonts for: any other name may be drawn as nothing at all.
        "font": "sans-serif",
        "range": {"category": list(palette)},
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
    spec.pop("usermeta", None)
    return spec
