"""A small chart of curves in a bordered box, with its zoom, its caption and its CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import streamlit as st

from explorer.app.csv_text import harmless
from explorer.app.metrics_hover import hover
from explorer.app.metrics_tables import Curve, Drawn, Frame, draw
from explorer.app.metrics_zoom import reported
from explorer.app.names import esc, plain
from explorer.charts.curves import ZOOM, curves_spec
from explorer.charts.look import CurveLook, XKind, domain

_HOW_TO: Final = "Ctrl or ⌘ with the wheel zooms, a double click shows everything"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a box says and how its chart looks.

    Attributes:
        title: above the chart, plain text.
        key: of the chart; another one is another chart.
        x_title: of the x axis.
        x_kind: see `CurveLook`.
        log_x, log_y: logarithmic axes.
        height: of the plot in pixels.
        note: after the counts in the caption, plain text.
        help: of the title, Markdown.
        code: pandas lines that draw the same, or None.
        max_legend: with more series there is no legend.
    """

    title: str
    key: str
    x_title: str = "step"
    x_kind: XKind = "whole"
    log_x: bool = False
    log_y: bool = False
    height: int = 230
    note: str = ""
    help: str | None = None
    code: str | None = None
    max_legend: int = 16


def curve_card(curves: Sequence[Curve], places: Mapping[str, int], card: Card) -> None:
    """Draw the curves; `places` gives each label its place in the palette."""
    window = reported(card.key)
    drawn = draw(curves, Frame(window, card.log_x, card.log_y))
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
    with st.container(border=True, gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{esc(card.title, 120)}**", width="content", help=card.help)
            export(card.key, card.title, lambda: write_csv(curves, card), card.code)
        spec = {
            **curves_spec(look),
            "datasets": {**drawn.tables, "hover": hover(drawn, card.x_kind, card.log_x)},
        }
        alt = plain(f"{card.title}, told in numbers by its tooltip and its caption", 300)
        st.vega_lite_chart(spec, key=card.key, on_select="rerun", selection_mode=[ZOOM], alt=alt)
        st.caption(esc(_caption(drawn, card), 600))


def export(key: str, title: str, make: object, code: str | None = None) -> None:
    """Draw the button that opens the CSV of a chart and the pandas lines that draw it again.

    Args:
        key: of the chart.
        title: of the chart; the file is named after it.
        make: returns the bytes of the CSV; called when the button is pressed.
        code: Python that reproduces the numbers, or None.
    """
    box = st.popover(
        "", icon=":material/ios_share:", type="tertiary", help="CSV, and the pandas lines of this chart",
        key=f"export_{key}", on_change="rerun",
    )  # fmt: skip
    if not box.open:
        return
    from explorer.app.metrics_export import file_name

    with box, st.container(width=560):
        st.download_button(
            "CSV", make, f"{file_name(title)}.csv", "text/csv",  # type: ignore[arg-type]
            key=f"csv_{key}", icon=":material/table:", on_click="ignore", help="Every point, with every digit",
        )  # fmt: skip
        if code is not None:
            st.caption("These lines read the same files:")
            st.code(code, language="python")


def write_csv(curves: Sequence[Curve], card: Card) -> bytes:
    """Return every point of the curves, one row each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["series", harmless(card.x_title), harmless(card.title)])
    for curve in curves:
        label = harmless(curve.label)
        writer.writerows([label, x, repr(y)] for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    return out.getvalue().encode()


def _caption(drawn: Drawn, card: Card) -> str:
    num = len(drawn.parts)
    parts = [f"{num:,} series" if num != 1 else "1 series", f"{drawn.num_points:,} points", drawn.how]
    if drawn.num_nan or drawn.num_inf:
        parts.append(f"{drawn.num_nan:,} NaN and {drawn.num_inf:,} Inf marked at the bottom")
    if drawn.num_outside:
        parts.append(f"{drawn.num_outside:,} outside the y axis")
    if drawn.num_off_log:
        parts.append(f"{drawn.num_off_log:,} at or below 0 not on the logarithmic axis")
    return " · ".join([*parts, *([card.note] if card.note else []), _HOW_TO])
