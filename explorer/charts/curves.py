"""Curves of one metric over several series: a specification that never changes while only its data do.

A chart reads five named tables (see `explorer.charts.tables`), so that a zoom or a live update swaps rows in the living
view. Ranges of the axes are data too: the table `view` holds them, and the scales read it. Text that comes from files
(labels of series, names of metrics) is data or a title here, never the name of a field and never part of an expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import altair as alt
import pyarrow as pa

# The params and tables of the specification; the app swaps the tables and listens to the zoom.
ZOOM: Final = "zoom"
TABLES: Final = ("lines", "dots", "marks", "hover", "view")
# Series that the tooltip can show; more are counted in its last line.
MAX_HOVER: Final = 10
NUM_COLOURS: Final = 8
DASHES: Final = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))
# Colours and patterns repeat after this many places, so a domain may be padded modulo this number.
PERIOD: Final = NUM_COLOURS * len(DASHES)
NON_FINITE: Final = ("NaN", "+Inf", "-Inf")

# Of a logarithmic axis only the powers of ten get a line across the plot.
_DECADE: Final = {"test": "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-6", "value": 1}

XKind = Literal["number", "whole", "utc"]

_WHEEL: Final = "wheel![event.ctrlKey || event.metaKey || event.altKey]"
# The sign of NaN: two strokes, unlike anything else that is drawn.
_SALTIRE: Final = "M-.8,-.8L.8,.8M-.8,.8L.8,-.8"
_NUMBER: Final = (
    "datum.value === 0 ? '0' : abs(datum.value) >= 1e6 || abs(datum.value) < 1e-4 ? format(datum.value, '.3~e') : "
    "datum.label"
)


@dataclass(frozen=True, kw_only=True)
class CurveLook:
    """What the specification of a chart depends on; two equal looks give one specification.

    Attributes:
        domain: labels by place in the palette; a series keeps its colour whatever else is drawn (see `domain`).
        shown: labels of the series that are drawn, in the order of legend and tooltip.
        x_title: title of the x axis, with its unit.
        x_kind: `whole` numbers (steps), any `number`, or `utc` (milliseconds since 1970).
        log_x, log_y: logarithmic axes.
        smooth: whether a smoothed line is drawn over the raw one.
        height: of the plot in pixels.
        legend_px: about how wide the legend may be.
        max_legend: with more series than this there is no legend; the tooltip tells them.
        title: drawn inside the chart, for exports; in the app the title stands above the chart.
    """

    domain: tuple[str, ...]
    shown: tuple[str, ...]
    x_title: str = "step"
    x_kind: XKind = "whole"
    log_x: bool = False
    log_y: bool = False
    smooth: bool = False
    height: int = 240
    legend_px: int = 440
    max_legend: int = 6
    title: str = ""


def domain(places: Mapping[str, int]) -> tuple[str, ...]:
    r"""Return a domain that gives each label the look of its place, whatever other labels are there.

    Args:
        places: place of each label in the order that all runs of a root have for life.

    Returns:
        The labels, with fillers between them so that position modulo `PERIOD` equals place modulo `PERIOD`.

    >>> domain({"b": 2})
    ('\u2060', '\u2060\u2060', 'b')
    """
    out: list[str] = []
    for label, place in sorted(places.items(), key=lambda item: (item[1], item[0])):
        while len(out) % PERIOD != place % PERIOD:
            out.append("\u2060" * (1 + sum(text.strip("\u2060") == "" for text in out)))
        out.append(label)
    return tuple(out)


def metric_curves(look: CurveLook) -> alt.LayerChart:
    """Return the chart of `look`; its data are the tables named in `TABLES`.

    Layers from back to front: band of each pixel column, raw line, smoothed line, dots of sparse series, marks of
    values that are not finite, and strips that carry the tooltip. The interval selection `zoom` is bound to the x
    axis: drag moves, Ctrl (or Alt, or Command) with the wheel and a pinch zoom, a double click resets.
    """
    x = _x(look)
    y_scale = _range_scale("y", look.log_y)
    grid: dict[str, Any] = {"gridOpacity": {"condition": _DECADE, "value": 0}} if look.log_y else {}
    y_axis = alt.Axis(title=None, labelExpr=_NUMBER, tickCount=5, minExtent=42, labelLimit=64, **grid)
    legend = _legend(look)
    colour = alt.Color("series:N", scale=alt.Scale(domain=list(look.domain)), legend=legend)
    # The browser evaluates every channel for every row: what would be the same for all of them is left out.
    dash: dict[str, Any] = {}
    if len(look.domain) > NUM_COLOURS:
        scale = alt.Scale(domain=list(look.domain), range=_dashes(len(look.domain)))
        dash["strokeDash"] = alt.StrokeDash("series:N", scale=scale, legend=legend)
    chosen = alt.selection_point(name="highlight", fields=["series"], bind="legend")
    can_choose = legend is not None and len(look.shown) > 1
    raw_opacity = 0.28 if look.smooth else 1.0

    def lit(value: float) -> Any:  # noqa: ANN401
        """Opaque as it is, and faint while another series is chosen in the legend."""
        if not can_choose:
            return alt.value(value)
        return alt.Opacity(condition={"param": "highlight", "value": value}, value=value * 0.12)

    lines = alt.Chart(alt.NamedData("lines")).encode(x=x, color=colour)
    raw = lines.mark_line(clip=True, strokeWidth=1.0 if look.smooth else 1.4, tooltip=None).encode(
        y=alt.Y("y:Q", scale=y_scale, axis=y_axis), opacity=lit(raw_opacity), **dash
    )
    layers: list[alt.Chart] = [
        lines.transform_filter("isValid(datum.low)")
        .mark_area(clip=True, line=False, tooltip=None)
        .encode(
            x=_x(look, sets_ends=True),
            y=alt.Y("low:Q", scale=y_scale, axis=y_axis),
            y2="high:Q",
            opacity=lit(0.14 if look.smooth else 0.28),
        ),
        raw.add_params(chosen) if can_choose else raw,
    ]
    if look.smooth:
        layers.append(
            lines.mark_line(clip=True, strokeWidth=1.9, tooltip=None).encode(
                y=alt.Y("smooth:Q", scale=y_scale, axis=y_axis), opacity=lit(1.0), **dash
            )
        )
    layers += [
        alt.Chart(alt.NamedData("dots"))
        .mark_point(clip=True, filled=True, size=22, tooltip=None)
        .encode(x=x, y=alt.Y("y:Q", scale=y_scale, axis=y_axis), color=colour, opacity=lit(raw_opacity)),
        alt.Chart(alt.NamedData("marks"))
        .mark_point(clip=True, filled=False, size=46, strokeWidth=1.6, tooltip=None)
        .encode(
            x=x,
            y=alt.value(alt.ExprRef("height - 7")),
            color=colour,
            opacity=lit(1.0),
            shape=alt.Shape(
                "kind:N",
                scale=alt.Scale(domain=list(NON_FINITE), range=[_SALTIRE, "triangle-up", "triangle-down"]),
                legend=None,
            ),
        ),
        # Vega keeps only tables that some layer reads; the scales read this one by name.
        alt.Chart(alt.NamedData("view")).mark_rule(opacity=0, tooltip=None).encode(y=alt.value(0)),
        _hover(look, x),
    ]
    chart = alt.layer(*layers).properties(
        height=look.height,
        padding={"left": 0, "top": 4, "right": 6, "bottom": 0},
        # Streamlit sets both by the number of rows when they are left open, which would make a new chart of new data.
        usermeta={"embedOptions": {"renderer": "canvas"}},
        config=alt.Config(mark=alt.MarkConfig(aria=False)),
        **({"title": look.title} if look.title else {}),
    )
    assert isinstance(chart, alt.LayerChart)
    return chart


def _legend(look: CurveLook) -> alt.Legend | None:
    names = look.shown
    if not 1 <= len(names) <= look.max_legend:
        return None
    longest = max(min(len(name), 26) for name in names)
    return alt.Legend(
        title=None,
        orient="bottom",
        values=list(names),
        columns=max(1, min(len(names), int(look.legend_px / (longest * 6.2 + 42)))),
        labelLimit=170,
        symbolType="stroke",
        symbolStrokeWidth=2.5,
        symbolSize=180,
        symbolOpacity=1,
        rowPadding=2,
        columnPadding=12,
        offset=4,
    )


def _x(look: CurveLook, sets_ends: bool = False) -> alt.X:
    utc = look.x_kind == "utc"
    axis: dict[str, Any] = {
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
    return alt.X("x:T" if utc else "x:Q", axis=alt.Axis(**axis), scale=_range_scale("x", look.log_x, utc, sets_ends))


def _range_scale(channel: Literal["x", "y"], log: bool, utc: bool = False, sets_ends: bool = True) -> alt.Scale:
    """A scale whose ends are the first row of the table `view`, so that new ends are data and not a new chart."""
    ends = [
        alt.ExprRef(f"length(data('view')) ? data('view')[0].{channel}_{end} : {default}")
        for end, default in (("low", 1 if log else 0), ("high", 10 if log else 1))
    ]
    if utc:
        # Vega-Lite 6.4 misreads these ends where layers that share a scale repeat them: one layer sets them for all.
        return alt.Scale(type="utc", domain=ends, nice=False) if sets_ends else alt.Scale(type="utc", nice=False)
    if log:
        return alt.Scale(type="log", domain=ends, nice=False)
    return alt.Scale(type="linear", domain=ends, nice=False, zero=False)


def _hover(look: CurveLook, x: alt.X) -> alt.Chart:
    pointed = alt.selection_point(name="pointed", fields=["column"], on="pointerover", clear="pointerout", empty=False)
    zoom = alt.selection_interval(name=ZOOM, bind="scales", encodings=["x"], zoom=_WHEEL)
    names = look.shown[:MAX_HOVER]
    tooltip = [alt.Tooltip("at:N", title=look.x_title)]
    tooltip += [alt.Tooltip(f"v{k}:N", title=_key(name)) for k, name in enumerate(names)]
    if len(look.shown) > MAX_HOVER:
        tooltip.append(alt.Tooltip("more:N", title="…"))
    chart: alt.Chart = (
        alt.Chart(alt.NamedData("hover"))
        .mark_rect(clip=True, color="#808080")
        .encode(
            x=x,
            x2="x2",
            y=alt.value(0),
            y2=alt.value(alt.ExprRef("height")),
            opacity=alt.when(pointed).then(alt.value(0.16)).otherwise(alt.value(0)),
            tooltip=tooltip,
        )
        .add_params(pointed, zoom)
    )
    return chart


def _key(name: str) -> str:
    """A tooltip treats the keys `title` and `image` in its own way; a name must not be one."""
    return name + "\u2060" if name in ("title", "image") else name


def _dashes(count: int) -> list[list[float]]:
    return [list(DASHES[place // NUM_COLOURS % len(DASHES)]) for place in range(count)]


@lru_cache(maxsize=512)
def _spec(look: CurveLook) -> dict[str, Any]:
    spec: dict[str, Any] = metric_curves(look).to_dict()
    spec.pop("$schema", None)
    return spec


def curves_spec(look: CurveLook) -> dict[str, Any]:
    """Return the Vega-Lite specification of `look` without data, made once per look; do not change it."""
    return _spec(look)


def with_data(look: CurveLook, tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    """Return a specification that holds its data, for files and notebooks."""
    return {**metric_curves(look).to_dict(), "datasets": {name: tables[name].to_pylist() for name in TABLES}}
