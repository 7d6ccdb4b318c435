"""What a chart can be taken away as: PNG, SVG, CSV, and the pandas lines that reproduce it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.app.colours import LIGHT
from explorer.app.csv_text import csv_bytes
from explorer.app.export_menu import Export, export_menu
from explorer.app.metrics_code import pandas_lines
from explorer.charts.export import export_spec

if TYPE_CHECKING:
    from explorer.app.metrics_chart import Picture, Shown


def menu(made: Picture, shown: Shown) -> None:
    """Draw the button that opens the exports of a chart."""
    export_menu(
        Export(
            name=made.name,
            stem=made.metric,
            spec=lambda: picture_spec(made),
            table=lambda: to_csv(made),
            about_table="Every point inside the window, not only those drawn",
            code=lambda: pandas_lines(made, shown),
        )
    )


def to_csv(made: Picture) -> bytes:
    """Return every point inside the window, one row each, series after series.

    Columns: series, x, value; smoothed when the chart is; std and runs for means. Text that a spreadsheet would take
    for a formula gets an apostrophe before it.
    """
    parts = made.parts
    smoothed = any(part.curve.smooth is not None for part in parts)
    means = any(part.curve.count is not None for part in parts)
    header = ["series", made.look.x_title, made.metric, *(["smoothed"] * smoothed), *(["std", "runs"] * means)]
    return csv_bytes(header, _rows(made, smoothed))


def _rows(made: Picture, smoothed: bool) -> Iterator[tuple[object, ...]]:
    for part in made.parts:
        curve, inside = part.curve, part.inside
        columns: list[list[object]] = [curve.x[inside].tolist(), curve.y[inside].tolist()]
        if smoothed:
            columns.append((curve.y if curve.smooth is None else curve.smooth)[inside].tolist())
        if curve.spread is not None and curve.count is not None:
            columns += [curve.spread[inside].tolist(), curve.count[inside].tolist()]
        if made.look.x_kind == "utc":
            columns[0] = [f"{moment}Z" for moment in (np.asarray(columns[0]) * 1000).astype("datetime64[us]")]
        yield from ((curve.label, *row) for row in zip(*columns, strict=True))


def picture_spec(made: Picture) -> dict[str, Any]:
    """Return the specification of the picture of a chart, in the light theme."""
    return export_spec(replace(made.look, title=made.metric[:200]), made.tables, LIGHT, made.caption)
