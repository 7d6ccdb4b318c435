"""A matrix drawn as a picture in a bordered box: weights, layers over steps, layers against layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import streamlit as st

from explorer.app.colours import DARK_DIVERGING, DARK_RAMP, LIGHT_DIVERGING, LIGHT_RAMP
from explorer.app.csv_text import csv_bytes
from explorer.app.export_menu import Export, below, card_head
from explorer.app.names import esc, plain
from explorer.app.run_text import value_text
from explorer.charts.export import WIDTH, standalone
from explorer.charts.pictures import MAX_PIXELS, Cells, PictureLook, blocks_of_cells, picture_spec, picture_tables
from explorer.charts.weights import Pixels

Floats = npt.NDArray[np.float64]
Ticks = Sequence[tuple[float, str]]

_LABEL_PX: Final = 14
_MAX_COLUMNS: Final = 600
# Of an exported picture: room for its title and for what is drawn, and what a line of these needs.
_HEAD_PX: Final = 110
_MIN_WIDTH: Final = 480


@dataclass(frozen=True, kw_only=True)
class PictureCard:
    """What a box says and how its picture looks.

    Attributes:
        title: above the picture, plain text.
        key: of the chart.
        caption: exactly what is drawn, plain text.
        look: of the picture.
        of: whose numbers these are, told under the title of an exported picture.
        help: of the title, Markdown.
        make_csv: returns the CSV, or None for what is too long for one.
        width: of the chart in pixels; that of the page when None.
        code: Python lines, or None.
    """

    title: str
    key: str
    caption: str
    look: PictureLook
    of: str = ""
    help: str | None = None
    make_csv: Callable[[], bytes] | None = None
    width: int | None = None
    code: str | None = None


def picture_card(
    values: npt.NDArray[Any], ends: tuple[float, float], cells: Cells, x_ticks: Ticks, y_ticks: Ticks, card: PictureCard
) -> None:
    """Draw the values (`[rows, columns]`, row 0 at the top) in the colours of the theme."""
    light, dark = (LIGHT_DIVERGING, DARK_DIVERGING) if card.look.scheme == "diverging" else (LIGHT_RAMP, DARK_RAMP)
    spec = picture_spec(card.look)

    def tables(colours: Sequence[str]) -> dict[str, pa.Table]:
        return picture_tables(values, colours, ends, cells, x_ticks, y_ticks, log=card.look.log)

    def alone() -> dict[str, Any]:
        width, height = max(card.width or WIDTH, _MIN_WIDTH), int(spec["height"]) + _HEAD_PX
        told = below(card.of, card.caption)
        return standalone(spec, tables(light), (), light, card.title, told, height, width=width, pointer="cells")

    export = Export(
        name=card.key, stem=card.title, spec=alone, table=card.make_csv, about_table="Every value, with every digit",
        code=card.code,
    )  # fmt: skip
    with st.container(border=True, gap=None):
        card_head(card.title, export, help=card.help)
        # Part of the specification: a text with the step in it would draw a new chart of every step.
        alt = plain(f"Picture of {card.look.legend}; its tooltip tells the numbers", 300)
        datasets = tables(dark if st.context.theme.type == "dark" else light)
        st.vega_lite_chart({**spec, "datasets": datasets}, key=card.key, alt=alt, width=card.width or "stretch")
        st.caption(esc(card.caption, 600))


def weight_cells(pixels: Pixels) -> Cells:
    """Return the cells of a picture of weights: where they are in the matrix, and the mean and ends of their pixels."""
    rows, columns = pixels.values.shape
    tall, wide = blocks_of_cells(rows, columns)
    tops, lefts = np.arange(0, rows, tall), np.arange(0, columns, wide)
    y, x = (side.ravel().astype(np.int64) for side in np.meshgrid(tops, lefts, indexing="ij"))
    y2, x2 = np.minimum(y + tall, rows), np.minimum(x + wide, columns)
    texts: list[list[str]] = [[], [], []]
    for first, last, begin, end in zip(y.tolist(), y2.tolist(), x.tolist(), x2.tolist(), strict=True):
        part = pixels.values[first:last, begin:end]
        good = part[np.isfinite(part)]
        texts[0].append(_range(first, last, pixels.rows_each, pixels.num_rows))
        texts[1].append(_range(begin, end, pixels.columns_each, pixels.num_columns))
        if not good.size:
            texts[2].append("not finite")
        elif part.size == 1:
            texts[2].append(value_text(float(part[0, 0]), digits=4))
        else:
            low, high = value_text(float(good.min()), digits=3), value_text(float(good.max()), digits=3)
            texts[2].append(f"{low} to {high}" + (", some not finite" if good.size < part.size else ""))
    left, right, top, bottom = (side.astype(np.float64) for side in (x, x2, y, y2))
    return Cells(left, right, top, bottom, texts)


def _range(first: int, last: int, each: int, total: int) -> str:
    low, high = first * each, min(last * each, total) - 1
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def index_ticks(num: int, each: int, total: int) -> Ticks:
    """Return ticks at round indices of a matrix of `total` rows or columns drawn as `num` pixels of `each`."""
    if total <= 1:
        return [(0.5, "0")] if total else []
    gap = max(1, 10 ** int(np.log10(total)))
    for smaller in (gap // 2, gap // 5, gap // 10):
        if total / gap < 4 and smaller >= 1:
            gap = smaller
    return [((index + 0.5) / each, f"{index:,}") for index in range(0, total, gap) if (index + 0.5) / each <= num]


def name_ticks(names: Sequence[str], height: int) -> Ticks:
    """Return a tick in the middle of each row (or column), thinned out where there is no room for the text."""
    each = max(1, -(-len(names) * _LABEL_PX // max(height, 1)))
    return [(place + 0.5, plain(name, 60)) for place, name in enumerate(names) if place % each == 0]


def step_columns(num_layers: int, steps: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return which of the steps each column of a picture of layers by steps stands for: one, or several in a row."""
    room = max(1, min(_MAX_COLUMNS, MAX_PIXELS // max(num_layers, 1)))
    return [part for part in np.array_split(np.arange(steps.size), min(room, steps.size)) if part.size]


def grid_csv(names: Sequence[str], columns: Sequence[object], values: Floats, corner: str) -> bytes:
    """Return a matrix with its names as CSV, every digit; empty where there is no value."""
    rows = (
        [name, *(None if value != value else value for value in row)]
        for name, row in zip(names, values.tolist(), strict=True)
    )
    return csv_bytes([corner, *(str(column) for column in columns)], rows)
