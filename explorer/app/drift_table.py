"""The table of drift: each layer with its course, its last and its largest distance, and what chance alone gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import streamlit as st

from explorer.app.distributions_data import kept
from explorer.app.distributions_distances import CHANCE, SHORT
from explorer.app.drift_data import Drifted
from explorer.app.drift_map import look_at
from explorer.charts import arrow

Floats = npt.NDArray[np.float64]

_KEY: Final = "drift_table"
_MAX_POINTS: Final = 60
_HEIGHT: Final = 420
_MAX_WHOLE: Final = 14


def drift_table(found: Drifted, rows: Sequence[int], measure: str) -> None:
    """Draw the table; choosing a row looks at the step of its largest distance."""
    st.dataframe(
        kept(("drift table", found, tuple(rows)), lambda: table(found, rows)),
        hide_index=True,
        height="content" if len(rows) <= _MAX_WHOLE else _HEIGHT,
        on_select=lambda: _chosen(found, rows),
        selection_mode="single-row",
        key=_KEY,
        placeholder="",
        column_config=_config(SHORT[measure]),
        alt="Drift of each layer: last and largest distance, and what chance alone gives",
    )


def table(found: Drifted, rows: Sequence[int]) -> pa.Table:
    """Return one row for each tensor: its course, last and largest distance, chance, unit, unusual changes, values."""
    matrix = found.matrix
    columns = [found.largest(row) for row in rows]
    lasts = [found.last(row) for row in rows]
    largest = [_at(matrix.values, row, column) for row, column in zip(rows, columns, strict=True)]
    null = [_at(matrix.null, row, column) for row, column in zip(rows, columns, strict=True)]
    return arrow.table(
        {
            "layer": arrow.texts([found.labels[row] for row in rows]),
            "course": arrow.number_lists([_course(matrix.values[row]) for row in rows]),
            "last": arrow.numbers([_at(matrix.values, row, column) for row, column in zip(rows, lasts, strict=True)]),
            "largest": arrow.numbers(largest),
            "at step": arrow.texts([None if column is None else f"{matrix.steps[column]:,}" for column in columns]),
            "by chance up to": arrow.numbers(null),
            "ratio": arrow.numbers([_ratio(value, level) for value, level in zip(largest, null, strict=True)]),
            "unusual": arrow.numbers([float(found.alarms[row].sum()) for row in rows]),
            "unit": arrow.texts([_unit(found, row, column) for row, column in zip(rows, columns, strict=True)]),
            "values": arrow.numbers([found.num_values[row] for row in rows], pa.int64()),
        }
    )


def _config(measure: str) -> dict[str, Any]:
    columns = st.column_config
    return {
        "layer": columns.TextColumn("layer", width=220, pinned=True),
        "course": columns.LineChartColumn(f"{measure} over the steps", width=170, color="#7f8ea3"),
        "last": columns.NumberColumn("last", format="%.3g", help="At the last sampled step"),
        "largest": columns.NumberColumn("largest", format="%.3g"),
        "by chance up to": columns.NumberColumn("by chance up to", format="%.3g", help=CHANCE),
        "ratio": columns.NumberColumn("ratio", format="%.3g", help="The largest distance over what chance gives"),
        "unit": columns.TextColumn(
            "unit",
            help="sd: standard deviations of the reference; value: of the values, where the reference is constant",
        ),
        "values": columns.NumberColumn("values", format="localized"),
        "unusual": columns.NumberColumn(
            "unusual",
            format="%d",
            help="Changes since the step before that stand out among the last 50 of the same layer (robust z above 6, "
            "W1/sd above 0.1, after 20 samples)",
        ),
    }


def _chosen(found: Drifted, rows: Sequence[int]) -> None:
    selection: Mapping[str, Any] = (st.session_state.get(_KEY) or {}).get("selection") or {}
    picked = list(selection.get("rows") or [])
    if picked and isinstance(picked[0], int) and picked[0] < len(rows):
        row = rows[picked[0]]
        column = found.largest(row)
        look_at(found.names[row], int(found.matrix.steps[0 if column is None else column]))


def _at(values: Floats, row: int, column: int | None) -> float | None:
    return None if column is None else float(values[row, column])


def _unit(found: Drifted, row: int, column: int | None) -> str:
    """The unit of the largest distance; measures that have none are plain numbers."""
    if column is None or found.measure != "wasserstein":
        return ""
    return "value" if found.matrix.absolute[row, column] else "sd"


def _ratio(value: float | None, level: float | None) -> float | None:
    """How many times chance; None where chance gives nothing at all, as for constant tensors."""
    return value / level if value is not None and level else None


def _course(values: Floats) -> list[float]:
    """The known values, at most 60 points: the largest of each group of neighbours."""
    known = values[np.isfinite(values)]
    size = -(-len(known) // _MAX_POINTS) if len(known) else 1
    return [float(known[start : start + size].max()) for start in range(0, len(known), size)]
