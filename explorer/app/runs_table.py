"""The runs table as Streamlit draws it: an Arrow table, and how each column looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import streamlit as st

from explorer.analysis.settings import setting_text
from explorer.app.colours import DARK, DASHES, LIGHT, Slot
from explorer.app.names import esc, plain
from explorer.app.runs_fields import Field, as_float
from explorer.app.runs_trends import Points
from explorer.charts import arrow
from explorer.reading.catalogue import RunInfo

COLOUR: Final = "colour"
TREND: Final = "trend"
OPEN: Final = "runs_open"  # session: the name that was clicked, in the one script run after the click
ARCHIVED_BADGE: Final = "archived"
DAMAGED_BADGE: Final = "damaged"
WARNED_BADGE: Final = "warnings"
# Translucent, so that they stand on light and on dark alike.
_BADGES: Final = {
    "running": "#1d7df240",
    "finished": "#2e9e5b38",
    "failed": "#d0190445",
    "killed": "#e07b0045",
    "stale": "#8686864d",
    ARCHIVED_BADGE: "#8686862b",
    WARNED_BADGE: "#e0b00045",
    DAMAGED_BADGE: "#d0190445",
}
_MAX_TEXT: Final = 300
_EXACT: Final = 2**53


def make_table(
    infos: Sequence[RunInfo],
    fields: Sequence[Field],
    *,
    slots: Mapping[str, Slot],
    dark: bool,
    trend: Sequence[Points] | None = None,
) -> pa.Table:
    """Return one row per run and one column per field, named by token; first the colour of selected runs.

    Args:
        infos: The runs, in the order of the rows.
        fields: The columns, in order.
        slots: The look of the selected runs; others show no colour.
        dark: Whether the page is dark.
        trend: The points of each run's sparkline; the column comes after the name when given.
    """
    swatches = [_swatch(slots[info.run_id], dark) if info.run_id in slots else "" for info in infos]
    columns: dict[str, pa.Array] = {COLOUR: arrow.texts(swatches)}
    for field in fields:
        columns[field.token] = _column(field, infos)
    if trend is not None:
        columns[TREND] = arrow.number_lists(trend)
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def column_config(fields: Sequence[Field], infos: Sequence[RunInfo], *, sort: str, trend: str | None) -> dict[str, Any]:
    """Return how each column of `make_table` looks; the column that orders the rows carries an arrow."""
    config: dict[str, Any] = {
        COLOUR: st.column_config.ImageColumn("", width=36, pinned=True, help="The colour of a selected run in charts"),
    }
    for field in fields:
        arrow = {field.token: " ↑", f"-{field.token}": " ↓"}.get(sort, "")
        label = plain(field.label, 60) + arrow
        about = esc(field.about) if field.about else None
        config[field.token] = _look(field, label, about, infos)
    if trend is not None:
        config[TREND] = st.column_config.LineChartColumn(
            plain(trend, 60), width=112, color="#7f8ea3", help="First, smallest, largest and last values over the steps"
        )
    return config


def order(fields: Sequence[Field], *, with_trend: bool) -> list[str]:
    """Return the columns from left to right: colour, name, state, settings and metrics, sparkline, the rest."""
    tokens = [field.token for field in fields]
    after = max((i + 1 for i, field in enumerate(fields) if field.kind in ("setting", "number")), default=2)
    return [COLOUR, *tokens[:after], *([TREND] if with_trend else []), *tokens[after:]]


def _look(field: Field, label: str, about: str | None, infos: Sequence[RunInfo]) -> object:
    columns = st.column_config
    if field.token == "state":
        return columns.MultiselectColumn(
            label, options=list(_BADGES), color=list(_BADGES.values()), help=about, width=88
        )
    if field.token == "name":
        return columns.ButtonColumn(
            label,
            type="tertiary",
            alignment="left",
            pinned=True,
            key=OPEN,
            help="Open the run",
        )
    if field.kind == "list":
        tags = sorted({plain(tag, 60) for info in infos for tag in info.tags})
        return columns.MultiselectColumn(label, options=tags, color="#7f8ea333", help=about)
    if field.kind == "time":
        return columns.DatetimeColumn(label, format="distance", help=about, width=122)
    if field.kind == "duration":
        return columns.NumberColumn(label, format="compact", help=about, width=90)
    if field.kind == "count":
        return columns.NumberColumn(label, format="localized", help=about)
    if field.kind == "flag":
        return columns.CheckboxColumn(label, help=about)
    values = [field.get(info) for info in infos]
    if _is_numeric(field, values):
        return columns.NumberColumn(
            label, format="%.6g" if field.kind == "setting" else _number_format(values), help=about
        )
    # The grid guesses a column's width from some of its rows and cuts off the others.
    longest = max([len(label), *(len(str(value)) for value in values if value is not None)])
    return columns.TextColumn(label, help=about, width=min(max(16 + 6 * longest, 48), 240))


def _column(field: Field, infos: Sequence[RunInfo]) -> pa.Array:
    if field.token == "state":
        return arrow.text_lists([_badges(info) for info in infos])
    values: list[Any] = [field.get(info) for info in infos]
    if field.kind == "list":
        return arrow.text_lists([[plain(item, 60) for item in value] for value in values])
    if field.kind == "time":
        return arrow.numbers([round(value.timestamp() * 1000) for value in values], pa.timestamp("ms", tz="UTC"))
    if field.kind == "duration":
        return arrow.numbers([_whole(value) for value in values], pa.duration("s"))
    if field.kind == "count":
        return arrow.numbers([_whole(value) for value in values], pa.int64())
    if field.kind == "flag":
        return arrow.numbers(values, pa.bool_())
    if _is_numeric(field, values):
        return arrow.numbers([as_float(value) for value in values])
    return arrow.texts([_cell(field, value) for value in values])


def _cell(field: Field, value: object) -> str | None:
    if value is None:
        return None
    text = value if field.kind == "text" or isinstance(value, str) else setting_text(value)
    return plain(text, _MAX_TEXT)


def _is_numeric(field: Field, values: Sequence[object]) -> bool:
    """Whether every value is a number that a double holds; ids beyond 2^53 would change their last digits."""
    return field.kind == "number" or (
        field.kind == "setting"
        and any(value is not None for value in values)
        and all(value is None or _is_exact(value) for value in values)
    )


def _whole(value: float | None) -> int | None:
    """Return a count rounded; None where a hostile file claims more than anything could have."""
    return None if value is None or not abs(value) <= _EXACT else round(value)


def _is_exact(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > _EXACT


def _number_format(values: Sequence[object]) -> str:
    """Return a printf format that gives a column as many decimals as its largest number leaves room for."""
    sizes = [abs(v) for value in values if (v := as_float(value)) and math.isfinite(v)]
    if not sizes or all(float(size).is_integer() for size in sizes):
        return "%.6g"
    if max(sizes) >= 1e6 or max(sizes) < 1e-3:
        return "%.4g"
    return f"%.{4 - max(0, math.floor(math.log10(max(sizes))))}f" if max(sizes) < 1e4 else "%.0f"


def _badges(info: RunInfo) -> list[str]:
    more = {DAMAGED_BADGE: info.problems, WARNED_BADGE: info.warnings, ARCHIVED_BADGE: info.archived}
    return [info.state, *(badge for badge, is_so in more.items() if is_so)]


def _swatch(slot: Slot, dark: bool) -> str:
    colour = (DARK if dark else LIGHT)[slot.colour]
    dashes = " ".join(str(length * 2) for length in DASHES[slot.dash])
    return "data:image/svg+xml," + quote(
        "<svg xmlns='http://www.w3.org/2000/svg' width='28' height='32'>"
        f"<path d='M2 16h24' stroke='{colour}' stroke-width='5' stroke-dasharray='{dashes}'/></svg>",
        safe="/:=' ",
    )
