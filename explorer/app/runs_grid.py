"""The live table of the Runs page: it follows running trainings and keeps what is selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import streamlit as st

from explorer.app import runs_edit, runs_table, runs_view, selection, shell
from explorer.app.colours import run_slots
from explorer.app.names import esc
from explorer.app.runs_controls import action_bar
from explorer.app.runs_trends import trends
from explorer.app.runs_view import View, make_view
from explorer.reading.catalogue import RunInfo

_TABLE: Final = "runs_table"
_DRAWN: Final = "runs_drawn"  # session: a _Drawn, what the browser shows
_TRENDS_LEFT: Final = "runs_trends_left"  # session: sparklines that are still to be read
_ROW_PX: Final = 34
_MAX_ROWS: Final = 19  # shown at once
_BUSY_S: Final = 0.5  # while sparklines are being read
_LIVE_S: Final = 2.0
_IDLE_S: Final = 10.0
_TREND_BUDGET_S: Final = 0.15


class _Drawn(NamedTuple):
    """The table as it was drawn last: the run of each row, and the rows that were selected."""

    run_ids: list[str]
    rows: list[int]


def draw(infos: Sequence[RunInfo]) -> None:
    """Draw the table; while a run is going on it looks at the disk every two seconds, else every ten."""
    pace, ids = _pace(infos), {info.run_id for info in infos}
    st.fragment(shell.guarded("The runs table")(lambda: _draw(pace, ids)), run_every=pace)()


def _pace(infos: Sequence[RunInfo]) -> float:
    if st.session_state.get(_TRENDS_LEFT, 0):
        return _BUSY_S
    return _LIVE_S if any(info.state == "running" for info in infos) else _IDLE_S


def _draw(pace: float, known: set[str]) -> None:
    if _take_click() or runs_edit.take_stale():
        st.rerun()
    infos = shell.runs()
    if {info.run_id for info in infos} != known:
        st.rerun()  # the sidebar and the other controls follow
    view = make_view(infos)
    action_bar(infos, view)
    _say(view)
    above = st.container()  # keeps the grid's own toolbar, which floats over its upper edge, off the buttons
    if view.runs:
        _grid(infos, view)
    with above:
        _sum_up(view)
    if _pace(infos) != pace:
        st.rerun()


def _take_click() -> bool:
    """Take over what was clicked since the table was drawn, and return whether the selection is another one now.

    A name opens its run, a header sorts, a box selects; runs that the table does not show stay selected. Without any
    selected run, the other pages show the newest ones.
    """
    drawn: _Drawn | None = st.session_state.get(_DRAWN)
    if drawn is None or _TABLE not in st.session_state:
        return False
    opened: Any = st.session_state.get(runs_table.OPEN)
    if opened is not None and opened["row"] < len(drawn.run_ids):
        shell.go("run", run=drawn.run_ids[opened["row"]])
    event: Any = st.session_state[_TABLE].get("selection") or {}
    for column in event.get("columns", ()):
        if column not in (runs_table.COLOUR, runs_table.TREND):
            runs_view.sort_by(column)
        return False
    rows = sorted(event.get("rows", ()))
    if rows == drawn.rows:
        return False
    shown = set(drawn.run_ids)
    picked = [drawn.run_ids[row] for row in rows if row < len(drawn.run_ids)]
    kept = [run_id for run_id in selection.chosen_ids() or [] if run_id not in shown]
    selection.select([*picked, *kept] or None)
    st.session_state[_DRAWN] = drawn._replace(rows=rows)
    return True


def _grid(infos: Sequence[RunInfo], view: View) -> None:
    ids = [info.run_id for info in view.runs]
    selected = set(selection.selected_ids(infos))
    points = None
    if view.trend is not None:
        points, left = trends().read(view.runs, view.trend, _TREND_BUDGET_S)
        st.session_state[_TRENDS_LEFT] = left
    table = runs_table.make_table(
        view.runs,
        view.fields,
        slots=run_slots(shell.root(), [info for info in infos if info.run_id in selected]),
        dark=st.context.theme.type == "dark",
        trend=points,
    )
    chosen = set(selection.chosen_ids() or ())
    rows = [row for row, run_id in enumerate(ids) if run_id in chosen]
    now: Any = st.session_state.get(_TABLE, {}).get("selection") or {}
    if sorted(now.get("rows", ())) != rows or now.get("columns"):
        st.session_state[_TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    st.session_state[_DRAWN] = _Drawn(ids, rows)
    st.dataframe(
        table,
        key=_TABLE,
        hide_index=True,
        height="content" if len(ids) <= _MAX_ROWS else _ROW_PX * (_MAX_ROWS + 1),
        row_height=_ROW_PX,
        placeholder="",
        column_order=runs_table.order(view.fields, with_trend=points is not None),
        column_config=runs_table.column_config(view.fields, view.runs, sort=view.sort, trend=view.trend),
        on_select="rerun",
        selection_mode=["multi-row", "single-column"],
        alt="Runs: one row for each, with state, settings and metrics",
    )


def _say(view: View) -> None:
    if view.error is not None:
        # It quotes the filter, which may come from anybody's link.
        st.error(
            esc(view.error, 300),
            title="The filter was not understood; all runs are shown",
            icon=":material/filter_alt_off:",
        )
    if view.unknown:
        named = ", ".join(esc(token, 60) for token in view.unknown[:4])
        st.info(f"No run has the columns {named} that this link asks for; they are left out.")
    if not view.runs:
        st.info(
            "No run matches the search and the filter. Clear them, or show archived runs.", icon=":material/search_off:"
        )


def _sum_up(view: View) -> None:
    count = f"{view.num_found:,} of {view.num_listed:,} runs" if view.num_found != view.num_listed else ""
    parts = [count or ("1 run" if view.num_listed == 1 else f"{view.num_listed:,} runs")]
    if view.num_found > len(view.runs):
        parts.append(f"the first {len(view.runs):,} are shown")
    parts.append("click a name to open the run, a header to sort")
    left = st.session_state.get(_TRENDS_LEFT, 0)
    if view.trend is not None and left:
        parts.append(f"reading {left:,} more trends")
    st.caption(" · ".join(parts))
