"""A small chart of curves in a bordered box, with its zoom, its caption and its exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import streamlit as st

from explorer.app.colours import LIGHT
from explorer.app.csv_text import csv_bytes
from explorer.app.export_menu import Export, below, card_head
from explorer.app.metrics_hover import hover
from explorer.app.metrics_tables import Curve, Drawn, Frame, draw
from explorer.app.metrics_zoom import reported
from explorer.app.names import esc, plain
from explorer.charts.curves import ZOOM, curves_spec
from explorer.charts.export import export_spec
from explorer.charts.look import CurveLook, XKind, domain

_HOW_TO: Final = "Ctrl or ⌘ with the wheel zooms, a double click shows everything"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a box says and how its chart looks.

    Attributes:
        title: above the chart, plain text.
        when: at which steps, after the title; other steps are no other chart.
        key: of the chart; another one is another chart.
        x_title: of the x axis.
        x_kind: see `CurveLook`.
        log_x, log_y: logarithmic axes.
        height: of the plot in pixels.
        note: after the counts in the caption, plain text.
        help: of the title, Markdown.
        of: whose numbers these are, told under the title of an exported picture.
        code: Python lines that draw the same, or None.
        max_legend: with more series there is no legend.
    """

    title: str
    when: str = ""
    key: str
    x_title: str = "step"
    x_kind: XKind = "whole"
    log_x: bool = False
    log_y: bool = False
    height: int = 230
    note: str = ""
    help: str | None = None
    of: str = ""
    code: str | None = None
    max_legend: int = 16


def curve_card(curves: Sequence[Curve], places: Mapping[str, int], card: Card) -> None:
    """Draw the curves; `places` gives each label its place in the palette."""
    window = reported(card.key)
    # All of every series: layers differ by orders of magnitude, and the card has no choice of what its axis holds.
    drawn = draw(curves, Frame(window, card.log_x, card.log_y, reach="all"))
    look = CurveLook(
        domain=domain({curve.label: places[curve.label] for curve in curves}),
        shown=tuple(curve.label for curve in curves),
        x_title=card.x_title,
        x_kind=card.x_kind,
        log_x=card.log_x,
        log_y=card.log_y,
        height=card.height,
        legend_px=420,
        max_legend=card.max_legend,
    )
    tables = {**drawn.tables, "hover": hover(drawn, card.x_kind, card.log_x)}
    told = _caption(drawn, card)
    title = f"{card.title}, {card.when}" if card.when else card.title
    export = Export(
        name=card.key,
        stem=title,
        spec=lambda: export_spec(replace(look, title=title), tables, LIGHT, below(card.of, told)),
        table=lambda: write_csv(curves, card),
        code=card.code,
    )
    with st.container(border=True, gap=None):
        card_head(title, export, help=card.help)
        alt = plain(f"{card.title}, told in numbers by its tooltip and its caption", 300)
        spec = {**curves_spec(look), "datasets": tables}
        st.vega_lite_chart(spec, key=card.key, on_select="rerun", selection_mode=[ZOOM], alt=alt)
        st.caption(f"{esc(told, 600)} · {_HOW_TO}")


def write_csv(curves: Sequence[Curve], card: Card) -> bytes:
    """Return every point of the curves, one row each."""
    points = ((curve.label, x, y) for curve in curves for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    return csv_bytes(["series", card.x_title, card.title], points)


def _caption(drawn: Drawn, card: Card) -> str:
    num = len(drawn.parts)
    parts = [f"{num:,} series" if num != 1 else "1 series", f"{drawn.num_points:,} points", drawn.how]
    if drawn.num_nan or drawn.num_inf:
        parts.append(f"{drawn.num_nan:,} NaN and {drawn.num_inf:,} Inf marked at the bottom")
    if drawn.num_outside:
        parts.append(f"{drawn.num_outside:,} outside the y axis")
    if drawn.num_off_log:
        parts.append(f"{drawn.num_off_log:,} at or below 0 not on the logarithmic axis")
    return " · ".join([*parts, *([card.note] if card.note else [])])
