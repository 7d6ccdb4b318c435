"""The two bars over the runs table: what it shows, and what to do with the selected runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import streamlit as st

from explorer.app import links, runs_edit, selection, shell, state
from explorer.app.names import plain
from explorer.app.runnable import can_be_run
from explorer.app.runs_csv import write_csv
from explorer.app.runs_fields import Tokens, default_tokens, find_field
from explorer.app.runs_view import NO_TREND, View, columns, trend
from explorer.reading.catalogue import RunInfo

_MAX_OPTIONS: Final = 2_000
_TEXT_PX: Final = 280  # fixed, so that the buttons stay where they are when the selection changes
_HELP: Final = """
Keeps the runs for which this holds. Compare any column:

`config.lr > 0.01 and state == finished`

`best.val/acc >= 0.97 or tags == keep`

`name contains resnet and not (duration < 10m)`

`config.optimizer in (adam, sgd)` · `config.momentum == none`

Signs: `==` `!=` `<` `<=` `>` `>=` `contains` `in (...)`, joined by `and`, `or`, `not` and brackets. Names with spaces
stand in backquotes, texts with spaces in quotes.
"""


def view_bar(infos: Sequence[RunInfo]) -> None:
    """Draw search, filter, columns and the archive switch; each writes the link."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _text("Search", links.FIND, "Search names, tags, notes", ":material/search:", width=250, live=True)
        _text("Filter", links.FILTER, "Filter: config.lr > 0.01 and state == finished", ":material/filter_alt:")
        with st.popover("", icon=":material/help:", type="tertiary", help="How to write a filter", width=46):
            st.markdown(_HELP)
        with st.popover("Columns", icon=":material/view_column:"):
            _columns(infos)
        if any(info.archived for info in infos):
            key = "runs_archived"
            st.session_state[key] = state.get(links.ARCHIVED) == "true"
            st.toggle("Archived", key=key, on_change=_write_flag, args=(key, links.ARCHIVED))


def action_bar(infos: Sequence[RunInfo], view: View) -> None:
    """Draw what can be done with the selected runs, and the CSV of what is shown.

    Other pages show all selected runs, or the newest; what changes runs is done to the selected ones in the table.
    """
    wanted = set(selection.selected_ids(infos))
    chosen = selection.chosen_ids() is not None
    here = [info for info in view.runs if chosen and info.run_id in wanted]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="runs_actions"):
        st.markdown(_selected_text(len(wanted), len(here), chosen), width=_TEXT_PX)
        link = sorted(wanted) if chosen else None
        if st.button("Metrics", key="runs_metrics", icon=":material/show_chart:", disabled=not wanted):
            shell.go("metrics", runs=link)
        if st.button("Compare", key="runs_compare", icon=":material/compare_arrows:", disabled=len(wanted) < 2):
            shell.go("compare", runs=link)
        if st.button(
            "Inference",
            key="runs_inference",
            icon=":material/tune:",
            disabled=len(here) != 1 or not can_be_run(here[0]),
            help="Run the model of one selected run again: its program and a snapshot must be recorded",
        ):
            shell.go("inference", run=here[0].run_id)
        _change_buttons(here, f" {len(here):,}" if 0 < len(here) < len(wanted) else "")
        fields = view.fields
        st.download_button(
            "CSV",
            lambda: write_csv(view.runs, fields),
            file_name="runs.csv",
            mime="text/csv",
            key="runs_csv",
            icon=":material/download:",
            on_click="ignore",
            disabled=not view.runs,
            help="The rows and columns of the table in their order, with every digit; without the sparkline.",
        )
        st.button("Trash", key="runs_open_trash", icon=":material/restore_from_trash:", on_click=runs_edit.start_trash)


def _selected_text(num_wanted: int, num_here: int, chosen: bool) -> str:
    if not chosen:
        newest = "the newest run" if num_wanted == 1 else f"the {num_wanted} newest runs"
        return f":gray[None selected: pages show {newest}]"
    hidden = num_wanted - num_here
    return f"**{num_wanted:,} selected**" + (f" :gray[· {hidden:,} not in the table]" if hidden else "")


def _change_buttons(here: Sequence[RunInfo], count: str) -> None:
    archived = bool(here) and all(info.archived for info in here)
    st.button(
        f"Edit{count}",
        key="runs_edit",
        icon=":material/edit:",
        disabled=not here,
        help="Name, tags and notes",
        on_click=runs_edit.start_edit,
        args=([info.run_id for info in here],),
    )
    st.button(
        f"Unarchive{count}" if archived else f"Archive{count}",
        key="runs_archive",
        icon=":material/unarchive:" if archived else ":material/archive:",
        disabled=not here,
        help="Lists them again" if archived else "Keeps them, but out of the list",
        on_click=runs_edit.set_archived,
        args=(here, not archived),
    )
    st.button(
        f"Delete{count}",
        key="runs_delete",
        icon=":material/delete:",
        disabled=not here,
        help="Moves them to the trash; nothing is lost until you empty it",
        on_click=runs_edit.delete,
        args=(here,),
    )


def _columns(infos: Sequence[RunInfo]) -> None:
    known = Tokens(infos)
    shown, _ = columns(infos, known)
    offered = list(dict.fromkeys([*shown, *islice(known, _MAX_OPTIONS)]))
    st.session_state["runs_columns"] = shown
    st.multiselect(
        "Columns, from left to right",
        offered,
        key="runs_columns",
        format_func=_column_name,
        on_change=_write_columns,
        args=(default_tokens(infos),),
        width=560,
        help="Settings are `config.*`; metrics come as last, best, min and max.",
    )
    if len(offered) >= _MAX_OPTIONS:
        st.caption(
            f"The first {_MAX_OPTIONS:,} columns are offered; a link can name any, as in `cols=name,last.val/loss`."
        )
    now = trend(infos) or NO_TREND
    metrics = list(dict.fromkeys([NO_TREND, now, *sorted(known.metrics)[:_MAX_OPTIONS]]))
    st.session_state["runs_trend"] = now
    st.selectbox(
        "Trend",
        metrics,
        key="runs_trend",
        format_func=lambda name: "No trend column" if name == NO_TREND else plain(name, 80),
        on_change=_write_trend,
        width=560,
    )
    if state.get(links.COLUMNS) is not None or state.get(links.TREND) is not None:
        st.button("Back to the columns chosen for you", key="runs_columns_reset", type="tertiary", on_click=_reset)


def _text(label: str, key: str, placeholder: str, icon: str, *, width: int | None = None, live: bool = False) -> None:
    widget = f"runs_{key}"
    now = state.get(key) or ""
    if st.session_state.get(widget) != now:
        st.session_state[widget] = now
    st.text_input(
        label,
        key=widget,
        placeholder=placeholder,
        icon=icon,
        label_visibility="collapsed",
        width=width or "stretch",
        live=live,
        on_change=_write_text,
        args=(widget, key),
    )


def _column_name(token: str) -> str:
    field = find_field(token)
    return plain(field.label if field is not None and "." not in token else token, 80)


def _write_text(widget: str, key: str) -> None:
    state.put(key, (st.session_state[widget] or "").strip() or None)


def _write_flag(widget: str, key: str) -> None:
    state.put(key, "true" if st.session_state[widget] else None)


def _write_columns(default: list[str]) -> None:
    tokens = st.session_state["runs_columns"]
    state.put(links.COLUMNS, None if tokens == default else links.join(tokens) or "name")


def _write_trend() -> None:
    state.put(links.TREND, st.session_state["runs_trend"])


def _reset() -> None:
    state.put(links.COLUMNS, None)
    state.put(links.TREND, None)
