"""The runs table as Streamlit draws it: an Arrow table, and how each column looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import streamlit as st

from explorer.analysis.comparison import setting_text
from explorer.app.colours import DARK, LIGHT, Slot
from explorer.app.names import esc, plain
from explorer.app.runs_fields import STATES, Field
from explorer.app.runs_trends import Points
from explorer.reading.catalogue import RunInfo

COLOUR: Final = "colour"
TREND: Final = "trend"
ARCHIVED_BADGE: Final = "archived"
DAMAGED_BADGE: Final = "damaged"
# Translucent, so that they stand on light and on dark alike.
_BADGES: Final = {
    "running": "#1d7df240",
    "finished": "#2e9e5b38",
    "failed": "#d0190445",
    "killed": "#e07b0045",
    "stale": "#8686864d",
    ARCHIVED_BADGE: "#8686862b",
    DAMAGED_BADGE: "#d0190445",
}
_MAX_TEXT: Final = 300
_EXACT: Final = 2**53


def make_table(
    infos: Sequence[RunInfo],
    fields: Sequence[Field],
    *,
    slots: Mapping[str, Slot],
    selected: set[str],
    dark: bool,
    trend: Sequence[Points] | None = None,
) -> pa.Table:
    """Return one row per run and one column per field, named by token; first the colour of selected runs.

    Args:
        infos: The runs, in the order of the rows.
        fields: The columns, in order.
        slots: The colour of each run.
        selected: Ids of the runs whose colour is shown.
        dark: Whether the page is dark.
        trend: The points of each run's sparkline; the column comes after the name when given.
    """
    swatches = [_swatch(slots[info.run_id], dark) if info.run_id in selected else "" for info in infos]
    columns: dict[str, pa.Array] = {COLOUR: pa.array(swatches, pa.string())}
    for field in fields:
        columns[field.token] = _column(field, infos)
    if trend is not None:
        columns[TREND] = pa.array([list(points) for points in trend], pa.list_(pa.float32()))
    return pa.table(columns)


def column_config(
    fields: Sequence[Field], infos: Sequence[RunInfo], *, sort: str, trend: str | None, on_open: Callable[[], None]
) -> dict[str, Any]:
    """Return how each column of `make_table` looks; the column that orders the rows carries an arrow."""
    config: dict[str, Any] = {
        COLOUR: st.column_config.ImageColumn("", width=36, pinned=True, help="The colour of a selected run in charts"),
    }
    for field in fields:
        arrow = {field.token: " ↑", f"-{field.token}": " ↓"}.get(sort, "")
        label = plain(field.label, 60) + arrow
        about = esc(field.about) if field.about else None
        config[field.token] = _look(field, label, about, infos, on_open)
    if trend is not None:
        config[TREND] = st.column_config.LineChartColumn(
            plain(trend, 60), width=150, color="#7f8ea3", help="First, smallest, largest and last values over the steps"
        )
    return config


def order(fields: Sequence[Field], *, with_trend: bool) -> list[str]:
    """Return the columns from left to right: colour, state, name, settings and metrics, sparkline, the rest."""
    tokens = [field.token for field in fields]
    after = max((i + 1 for i, field in enumerate(fields) if field.kind in ("setting", "number")), default=2)
    return [COLOUR, *tokens[:after], *([TREND] if with_trend else []), *tokens[after:]]


def _look(field: Field, label: str, about: str | None, infos: Sequence[RunInfo], on_open: Callable[[], None]) -> Any:
    columns = st.column_config
    if field.token == "state":
        return columns.MultiselectColumn(
            label, options=list(_BADGES), color=list(_BADGES.values()), help=about, width=92
        )
    if field.token == "name":
        return columns.ButtonColumn(
            label,
            type="tertiary",
            alignment="left",
            pinned=True,
            key="runs_open",
            on_click=on_open,
            help="Open the run",
        )
    if field.kind == "list":
        tags = sorted({plain(tag, 60) for info in infos for tag in info.tags})
        return columns.MultiselectColumn(label, options=tags, color="#7f8ea333", help=about)
    if field.kind == "time":
        return columns.DatetimeColumn(label, format="distance", help=about, width=110)
    if field.kind == "duration":
        return columns.NumberColumn(label, format="compact", help=about, width=90)
    if field.kind == "count":
        return columns.NumberColumn(label, format="localized", help=about)
    if field.kind == "flag":
        return columns.CheckboxColumn(label, help=about)
    if field.kind == "number" or (field.kind == "setting" and _is_numeric(field, infos)):
        return columns.NumberColumn(label, format="%.5g", help=about)
    return columns.TextColumn(label, help=about)


def _column(field: Field, infos: Sequence[RunInfo]) -> pa.Array:
    values = [field.get(info) for info in infos]
    if field.token == "state":
        return pa.array([_badges(info) for info in infos], pa.list_(pa.string()))
    if field.kind == "list":
        return pa.array([[plain(tag, 60) for tag in info.tags] for info in infos], pa.list_(pa.string()))
    if field.kind == "time":
        return pa.array(values, pa.timestamp("ms", tz="UTC"))
    if field.kind == "duration":
        return pa.array([round(info.duration_s) for info in infos], pa.duration("s"))
    if field.kind == "count":
        return pa.array(values, pa.int64())
    if field.kind == "flag":
        return pa.array(values, pa.bool_())
    if field.kind == "number" or (field.kind == "setting" and _is_numeric(field, infos)):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())  # type: ignore[arg-type]
    return pa.array([_cell(field, value) for value in values], pa.string())


def _cell(field: Field, value: object) -> str | None:
    if value is None:
        return None
    text = value if field.kind == "text" or isinstance(value, str) else setting_text(value)
    return plain(text, _MAX_TEXT)


def _is_numeric(field: Field, infos: Sequence[RunInfo]) -> bool:
    """Whether every value is a number that a double holds; ids beyond 2^53 would change their last digits."""
    values = [value for info in infos if (value := field.get(info)) is not None]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and (math.isnan(value) or abs(value) <= _EXACT)
        for value in values
    )


def _badges(info: RunInfo) -> list[str]:
    more = ([DAMAGED_BADGE] if info.problems else []) + ([ARCHIVED_BADGE] if info.archived else [])
    return [info.state if info.state in STATES else "stale", *more]


def _swatch(slot: Slot, dark: bool) -> str:
    colour = (DARK if dark else LIGHT)[slot.colour]
    gaps = ("", "6 3", "2 2", "8 3 2 3")[slot.dash]
    return "data:image/svg+xml," + quote(
        "<svg xmlns='http://www.w3.org/2000/svg' width='48' height='32'>"
        f"<path d='M6 16h36' stroke='{colour}' stroke-width='7' stroke-linecap='{'butt' if gaps else 'round'}'"
        f" stroke-dasharray='{gaps}'/></svg>",
        safe="/:=' ",
    )
