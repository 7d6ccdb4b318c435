"""The live table of the Runs page: it follows running trainings and keeps what is selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from explorer.app import runs_table, runs_view, selection, shell
from explorer.app.colours import run_slots
from explorer.app.names import esc
from explorer.app.runs_controls import action_bar
from explorer.app.runs_trends import trends
from explorer.app.runs_view import View, make_view
from explorer.reading.catalogue import RunInfo

_TABLE: Final = "runs_table"
_ROWS: Final = "runs_rows"  # session: run ids of the rows as the browser shows them
_DIRTY: Final = "runs_dirty"  # session: the selection changed, so the sidebar is to be drawn again
_OPEN: Final = "runs_open_id"  # session: the run whose name was clicked
_ROW_PX: Final = 34
_MAX_PX: Final = 680
_LIVE_S: Final = 2.0
_IDLE_S: Final = 10.0
_TREND_BUDGET_S: Final = 0.15


def draw(infos: Sequence[RunInfo]) -> None:
    """Draw the table; while a run is going on it looks at the disk every two seconds, else every ten."""
    live = any(info.state == "running" for info in infos) or st.session_state.get("runs_trends_left", 0) > 0
    st.fragment(shell.guarded("The runs table")(_draw), run_every=_LIVE_S if live else _IDLE_S)()


def _draw() -> None:
    if st.session_state.pop(_DIRTY, False):
        st.rerun()
    clicked = st.session_state.pop(_OPEN, None)
    if clicked is not None:
        shell.go("run", run=clicked)
    infos = shell.runs()
    if not infos:
        st.rerun()
    view = make_view(infos)
    action_bar(infos, view)
    _say(view)
    if view.runs:
        _grid(infos, view)
    _sum_up(view)


def _grid(infos: Sequence[RunInfo], view: View) -> None:
    ids = [info.run_id for info in view.runs]
    selected = set(selection.selected_ids(infos))
    points = None
    if view.trend is not None:
        points, left = trends().read(view.runs, view.trend, _TREND_BUDGET_S)
        st.session_state["runs_trends_left"] = left
    table = runs_table.make_table(
        view.runs,
        view.fields,
        slots=run_slots(shell.root(), [info for info in infos if info.run_id in selected]),
        dark=st.context.theme.type == "dark",
        trend=points,
    )
    st.session_state[_ROWS] = ids
    rows = [row for row, run_id in enumerate(ids) if run_id in selected]
    now = ((st.session_state.get(_TABLE) or {}).get("selection") or {}) if _TABLE in st.session_state else None
    if now is None or list(now.get("rows", ())) != rows or now.get("columns"):
        st.session_state[_TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    st.dataframe(
        table,
        key=_TABLE,
        hide_index=True,
        height=min(_MAX_PX, _ROW_PX * (len(ids) + 1) + 3),
        row_height=_ROW_PX,
        placeholder="",
        column_order=runs_table.order(view.fields, with_trend=points is not None),
        column_config=runs_table.column_config(
            view.fields, view.runs, sort=view.sort, trend=view.trend, on_open=_note_open
        ),
        on_select=_note_selection,
        selection_mode=["multi-row", "single-column"],
        alt="Runs: one row for each, with state, settings and metrics",
    )


def _note_selection() -> None:
    """Take over what was clicked: a header sorts, a box selects; runs that the table does not show stay selected."""
    event: Any = (st.session_state.get(_TABLE) or {}).get("selection") or {}
    for column in event.get("columns", ()):
        if column not in (runs_table.COLOUR, runs_table.TREND):
            runs_view.sort_by(column)
        return
    shown: list[str] = st.session_state.get(_ROWS, [])
    picked = [shown[row] for row in event.get("rows", ()) if row < len(shown)]
    kept = [run_id for run_id in selection.selected_ids(shell.runs()) if run_id not in set(shown)]
    selection.select([*picked, *kept])
    st.session_state[_DIRTY] = True


def _note_open() -> None:
    click: Any = st.session_state.get("runs_open")
    shown: list[str] = st.session_state.get(_ROWS, [])
    if click is not None and click["row"] < len(shown):
        st.session_state[_OPEN] = shown[click["row"]]


def _say(view: View) -> None:
    if view.error is not None:
        st.error(
            view.error, title="The filter was not understood; all runs are shown", icon=":material/filter_alt_off:"
        )
    if view.unknown:
        named = ", ".join(esc(token, 60) for token in view.unknown[:4])
        st.info(f"No run has the columns {named} that this link asks for; they are left out.")
    if not view.runs:
        st.info(
            "No run matches the search and the filter. Clear them, or show archived runs.", icon=":material/search_off:"
        )


def _sum_up(view: View) -> None:
    count = f"{len(view.runs):,} of {view.num_listed:,} runs" if len(view.runs) != view.num_listed else ""
    parts = [count or ("1 run" if view.num_listed == 1 else f"{view.num_listed:,} runs")]
    parts.append("click a name to open the run, a header to sort")
    left = st.session_state.get("runs_trends_left", 0)
    if view.trend is not None and left:
        parts.append(f"reading {left:,} more trends")
    st.caption(" · ".join(parts))
