"""The runs that all pages show: chosen once, kept across pages, mirrored in the link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import links, state
from explorer.app.colours import DARK, LIGHT, STROKES, run_slots
from explorer.app.names import esc, run_labels

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

NUM_DEFAULT: Final = 8
_MAX_OPTIONS: Final = 200  # of the picker; the Runs page selects among any number
_MAX_LEGEND: Final = 16
_PICKER: Final = "runs_picker"


def chosen_ids() -> list[str] | None:
    """Return the ids that somebody chose (or the link names), known here or not; None when nobody chose any."""
    text = state.get(links.RUNS)
    return None if text is None else [] if text == links.NO_RUNS else links.split(text)


def default_ids(infos: Sequence[RunInfo]) -> list[str]:
    """Return the newest runs that are not archived, at most eight; `infos` come newest first."""
    return [info.run_id for info in infos if not info.archived][:NUM_DEFAULT]


def selected_ids(infos: Sequence[RunInfo]) -> list[str]:
    """Return the ids of the selected runs that exist, in the order of `infos` (newest first)."""
    chosen = chosen_ids()
    wanted = set(default_ids(infos) if chosen is None else chosen)
    return [info.run_id for info in infos if info.run_id in wanted]


def select(run_ids: Iterable[str] | None) -> None:
    """Select these runs on all pages; None follows the newest ones again."""
    state.put(links.RUNS, None if run_ids is None else links.runs_text(dict.fromkeys(run_ids)))


def panel(root: str, infos: Sequence[RunInfo]) -> None:
    """Draw the selected runs with their colours, and a list to add to and remove from."""
    selected = selected_ids(infos)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        title = "Newest runs" if chosen_ids() is None else "Selected runs"
        st.markdown(f"**{title}** :gray[{len(selected)}]", width="content")
        with st.popover("Change", type="tertiary", icon=":material/edit:", help="Choose the runs that all pages show"):
            _picker(infos, selected)
    if selected:
        st.markdown(_legend(root, [info for info in infos if info.run_id in set(selected)]))
    else:
        st.caption("None. Select runs in the table of the Runs page, or here.")


def _legend(root: str, runs: Sequence[RunInfo]) -> str:
    slots, labels = run_slots(root, runs), run_labels(runs)
    palette = DARK if st.context.theme.type == "dark" else LIGHT
    lines = []
    for info in runs[:_MAX_LEGEND]:
        slot = slots[info.run_id]
        stroke = f':color[{STROKES[slot.dash]}]{{foreground="{palette[slot.colour]}"}}'
        lines.append(f"{stroke} :small[{esc(labels[info.run_id], 40)}]")
    if len(runs) > _MAX_LEGEND:
        lines.append(f":small[:gray[and {len(runs) - _MAX_LEGEND:,} more]]")
    return "  \n".join(lines)


def _picker(infos: Sequence[RunInfo], selected: list[str]) -> None:
    offered = dict.fromkeys([*selected, *(info.run_id for info in infos[:_MAX_OPTIONS])])
    labels = run_labels(info for info in infos if info.run_id in offered)
    if st.session_state.get(_PICKER) != selected:
        st.session_state[_PICKER] = selected
    st.multiselect(
        "Runs that all pages show",
        list(offered),
        key=_PICKER,
        format_func=lambda run_id: labels.get(run_id, run_id),
        on_change=_picked,
        placeholder="Choose runs",
        width=420,
    )
    if len(infos) > _MAX_OPTIONS:
        st.caption(f"The newest {_MAX_OPTIONS} are offered; the table of the Runs page selects among all.")
    if chosen_ids() is None:
        st.caption(f"Nothing was chosen, so the newest {NUM_DEFAULT} are followed.")
    else:
        st.button(
            f"Follow the newest {NUM_DEFAULT}",
            key="runs_follow",
            icon=":material/update:",
            on_click=select,
            args=(None,),
        )


def missing_ids(infos: Iterable[RunInfo]) -> list[str]:
    """Return the ids that were chosen (or named by the link) but are not in this root."""
    known = {info.run_id for info in infos}
    return [run_id for run_id in chosen_ids() or [] if run_id not in known]


def forget_missing(infos: Iterable[RunInfo]) -> None:
    """Take ids that are not in this root out of the selection; the default one when none is left."""
    known = {info.run_id for info in infos}
    select([run_id for run_id in chosen_ids() or [] if run_id in known] or None)


def _picked() -> None:
    select(st.session_state[_PICKER])
