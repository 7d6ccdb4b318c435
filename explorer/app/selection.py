"""The runs that all pages show: chosen once, kept across pages, mirrored in the link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import links
from explorer.app.names import esc, run_labels

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

NUM_DEFAULT: Final = 8
_CHOSEN: Final = "runs"  # session: list of run ids, or None while the newest runs are followed
_SEEN: Final = "runs_in_link"  # session: what the link said when it was last read or written
_PAGE: Final = "runs_page"  # session: the page of the last run, since a page switch empties the query
_PICKER: Final = "runs_picker"


def default_ids(infos: Sequence[RunInfo]) -> list[str]:
    """Return the newest runs that are not archived, at most eight; `infos` come newest first."""
    return [info.run_id for info in infos if not info.archived][:NUM_DEFAULT]


def selected_ids(infos: Sequence[RunInfo]) -> list[str]:
    """Return the ids of the selected runs that exist, in the order of `infos` (newest first)."""
    chosen = st.session_state.get(_CHOSEN)
    wanted = set(default_ids(infos) if chosen is None else chosen)
    return [info.run_id for info in infos if info.run_id in wanted]


def select(run_ids: Iterable[str] | None) -> None:
    """Select these runs on all pages; None follows the newest ones again."""
    st.session_state[_CHOSEN] = None if run_ids is None else list(dict.fromkeys(run_ids))
    _write_link()


def is_default() -> bool:
    """Return whether nobody has chosen runs, so that the newest ones are shown."""
    return st.session_state.get(_CHOSEN) is None


def sync(page: str) -> None:
    """Bring selection and link together at the start of a script run of `page`.

    The link wins when it changed since this session last saw it (opened, edited, back button); else the
    session wins (another page empties the query of the address).
    """
    found = st.query_params.get(links.RUNS)
    seen = st.session_state.get(_SEEN)
    same_page = st.session_state.get(_PAGE, page) == page
    if found is not None and found != seen:
        st.session_state[_CHOSEN] = [] if found == links.NO_RUNS else links.split(found)
    elif found is None and seen is not None and same_page:
        st.session_state[_CHOSEN] = None
    st.session_state[_PAGE] = page
    _write_link()


def picker(infos: Sequence[RunInfo]) -> None:
    """Draw the selected runs as a list to add to and remove from."""
    labels = run_labels(infos)
    st.session_state[_PICKER] = selected_ids(infos)
    st.multiselect(
        "Selected runs",
        [info.run_id for info in infos],
        key=_PICKER,
        format_func=lambda run_id: esc(labels.get(run_id, run_id), 60),
        on_change=_picked,
        placeholder="Choose runs",
        help="Shown on the pages Metrics and Compare. With no choice, the newest runs are followed.",
    )
    if not is_default():
        st.button(f"Follow the newest {NUM_DEFAULT}", key="runs_follow", type="tertiary", on_click=select, args=(None,))


def missing_ids(infos: Iterable[RunInfo]) -> list[str]:
    """Return the ids that were chosen (or named by the link) but are not in this root."""
    known = {info.run_id for info in infos}
    return [run_id for run_id in st.session_state.get(_CHOSEN) or [] if run_id not in known]


def forget_missing(infos: Iterable[RunInfo]) -> None:
    """Take ids that are not in this root out of the selection."""
    known = {info.run_id for info in infos}
    chosen = st.session_state.get(_CHOSEN)
    if chosen is not None:
        select([run_id for run_id in chosen if run_id in known])


def _picked() -> None:
    select(st.session_state[_PICKER])


def _write_link() -> None:
    chosen = st.session_state.get(_CHOSEN)
    value = None if chosen is None else links.runs_text(chosen)
    links.put(links.RUNS, value)
    st.session_state[_SEEN] = value
