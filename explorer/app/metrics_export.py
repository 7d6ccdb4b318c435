"""What a chart can be taken away as: PNG, SVG, CSV, and the pandas lines that reproduce it."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from explorer.app.colours import LIGHT
from explorer.app.csv_text import harmless
from explorer.app.metrics_code import pandas_lines
from explorer.charts.export import export_spec

if TYPE_CHECKING:
    from explorer.app.metrics_chart import Picture, Shown


def menu(made: Picture, shown: Shown) -> None:
    """Draw the button that opens the exports of a chart; nothing is made before it is opened."""
    box = st.popover(
        "",
        icon=":material/ios_share:",
        type="tertiary",
        help="PNG, SVG, CSV, and the pandas lines of this chart",
        key=f"export_{made.name}",
        on_change="rerun",
    )
    if not box.open:
        return
    with box, st.container(width=560):
        can = importlib.util.find_spec("vl_convert") is not None
        with st.container(horizontal=True):
            st.download_button(
                "PNG", lambda: to_png(picture_spec(made)), f"{made.file_name}.png", "image/png",
                key=f"png_{made.name}", icon=":material/image:", on_click="ignore", disabled=not can,
            )  # fmt: skip
            st.download_button(
                "SVG", lambda: to_svg(picture_spec(made)), f"{made.file_name}.svg", "image/svg+xml",
                key=f"svg_{made.name}", icon=":material/polyline:", on_click="ignore", disabled=not can,
            )  # fmt: skip
            st.download_button(
                "CSV", lambda: to_csv(made), f"{made.file_name}.csv", "text/csv",
                key=f"csv_{made.name}", icon=":material/table:", on_click="ignore",
                help="Every point inside the window, not only those drawn",
            )  # fmt: skip
        if not can:
            st.caption("PNG and SVG need one more package: `pip install vl-convert-python`.")
        st.caption("These lines read the same runs and draw the same curves:")
        st.code(pandas_lines(made, shown), language="python")


def to_csv(made: Picture) -> bytes:
    """Return every point inside the window, one row each, series after series.

    Columns: series, x, value; smoothed when the chart is; std and runs for means. Text that a spreadsheet would take
    for a formula gets an apostrophe before it.
    """
    parts = made.parts
    smoothed = any(part.curve.smooth is not None for part in parts)
    means = any(part.curve.count is not None for part in parts)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    title = harmless(made.look.x_title)
    writer.writerow(["series", title, harmless(made.metric), *(["smoothed"] * smoothed), *(["std", "runs"] * means)])
    for part in parts:
        curve, inside = part.curve, part.inside
        columns: list[list[object]] = [curve.x[inside].tolist(), curve.y[inside].tolist()]
        if smoothed:
            columns.append((curve.y if curve.smooth is None else curve.smooth)[inside].tolist())
        if curve.spread is not None and curve.count is not None:
            columns += [curve.spread[inside].tolist(), curve.count[inside].tolist()]
        if made.look.x_kind == "utc":
            columns[0] = [f"{moment}Z" for moment in (np.asarray(columns[0]) * 1000).astype("datetime64[us]")]
        label = harmless(curve.label)
        writer.writerows([label, *row] for row in zip(*columns, strict=True))
    return out.getvalue().encode()


def to_svg(spec: Mapping[str, Any]) -> bytes:
    """Return the picture of `spec` as SVG, made on this machine; nothing is loaded from anywhere."""
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(dict(spec), allowed_base_urls=[])
    return text.encode()


def to_png(spec: Mapping[str, Any], scale: float = 2.0) -> bytes:
    """Return the picture of `spec` as PNG, `scale` pixels for each of its units; nothing is loaded from anywhere."""
    import vl_convert

    data: bytes = vl_convert.vegalite_to_png(dict(spec), scale=scale, allowed_base_urls=[])
    return data


def file_name(metric: str) -> str:
    """Return a name for a file that holds only letters, digits, dots, dashes and underscores.

    >>> file_name("train/loss (ema)")
    'train-loss-ema'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", metric).strip("-.")[:80] or "chart"


def picture_spec(made: Picture) -> dict[str, Any]:
    """Return the specification of the picture of a chart, in the light theme."""
    return export_spec(replace(made.look, title=made.metric[:200]), made.tables, LIGHT, made.caption)
