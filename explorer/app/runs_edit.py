"""Changing runs from the table: name, tags and notes, archive, trash and undo. Nothing recorded is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import streamlit as st

from explorer.app import selection, shell
from explorer.app.names import esc, plain
from explorer.errors import ExplorerError, UsageError
from explorer.reading import edits
from explorer.reading.catalogue import RunInfo

_EDITING: Final = "runs_editing"  # session: ids in the edit drawer, absent when it is closed
_TRASH: Final = "runs_trash"  # session: whether the trash is open
_STALE: Final = "runs_stale"  # session: the page around the table is older than what was just done
_NOTICE: Final = "runs_notice"  # session: a _Notice, absent when there is nothing to undo
_FAILURES: Final = "runs_failures"  # session: what could not be done, to be said once


class _Notice(NamedTuple):
    """What was just done to which runs, and how to undo it."""

    message: str
    run_ids: list[str]
    was_archived: bool | None  # None: the runs are in the trash
    chosen: list[str] | None  # the selection before


def mark_stale() -> None:
    """Have the whole page drawn again: what is outside the live table has to follow what happened inside it."""
    st.session_state[_STALE] = True


def take_stale() -> bool:
    """Return whether the whole page is to be drawn again, once."""
    return bool(st.session_state.pop(_STALE, False))


def start_edit(run_ids: Sequence[str]) -> None:
    """Open the drawer on these runs at the end of this script run."""
    st.session_state[_EDITING] = list(run_ids)
    st.session_state.pop(_TRASH, None)
    mark_stale()


def start_trash() -> None:
    """Open the trash at the end of this script run."""
    st.session_state[_TRASH] = True
    st.session_state.pop(_EDITING, None)
    mark_stale()


def set_archived(infos: Sequence[RunInfo], archived: bool) -> None:
    """Put runs into the archive or take them out, and offer to undo it."""
    done = _each(infos, lambda info: edits.archive(info.path, archived))
    what = "Archived" if archived else "Took out of the archive:"
    if done:
        _offer_undo(f"{what} {_named(done)}.", done, was_archived=not archived)


def delete(infos: Sequence[RunInfo]) -> None:
    """Move runs to the trash, but for those that still run, and offer to undo it."""
    root = shell.root()

    def move(info: RunInfo) -> None:
        if info.state == "running":
            raise UsageError("it is still running; end its process first, then delete it")
        edits.move_to_trash(root, info.run_id)

    done = _each(infos, move)
    if done:
        _offer_undo(f"Moved {_named(done)} to the trash.", done)


def failures() -> None:
    """Draw what just failed, with its reason."""
    for text in st.session_state.pop(_FAILURES, []):
        st.error(text, icon=":material/error:")


def notice() -> None:
    """Draw what was just done with a button to undo it; it fits beside a title, so that nothing below it moves."""
    found: _Notice | None = st.session_state.get(_NOTICE)
    if found is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
        st.markdown(f":material/check: {found.message}", width="content")
        st.button("Undo", key="runs_undo", icon=":material/undo:", on_click=_undo)
        st.button("Dismiss", key="runs_dismiss", type="tertiary", on_click=_dismiss)


def drawers(infos: Sequence[RunInfo]) -> None:
    """Draw the edit drawer or the trash when one of them is open."""
    if st.session_state.get(_TRASH):
        _trash_drawer()
        return
    wanted = set(st.session_state.get(_EDITING, ()))
    runs = [info for info in infos if info.run_id in wanted]
    if runs:
        _edit_drawer(runs, sorted({tag for info in infos for tag in info.tags}))


def _close() -> None:
    for key in (_EDITING, _TRASH, "runs_edit_filled"):
        st.session_state.pop(key, None)


@st.dialog("Edit", position="right", width="small", icon=":material/edit:", on_dismiss=_close)
def _edit_drawer(runs: list[RunInfo], tags: list[str]) -> None:
    common = [tag for tag in runs[0].tags if all(tag in run.tags for run in runs)]
    state = st.session_state
    if state.get("runs_edit_filled") != [run.run_id for run in runs]:
        state["runs_edit_filled"] = [run.run_id for run in runs]
        state["runs_edit_name"], state["runs_edit_notes"] = runs[0].name, runs[0].notes
        state["runs_edit_tags"] = common
    if len(runs) == 1:
        st.caption(esc(runs[0].run_id))
        st.text_input("Name", key="runs_edit_name", max_chars=edits.MAX_NAME_CHARS, help="Empty: as it was recorded.")
    else:
        st.caption(f"{len(runs)} runs. Tags that all of them have are shown; other tags of a run stay.")
    st.multiselect(
        "Tags",
        list(dict.fromkeys([*state["runs_edit_tags"], *tags])),
        key="runs_edit_tags",
        accept_new_options=True,
        format_func=lambda tag: plain(tag, 60),
        placeholder="Choose tags, or type a new one and press Enter",
    )
    if len(runs) == 1:
        st.text_area("Notes", key="runs_edit_notes", height=220, max_chars=100_000)
    with st.container(horizontal=True):
        saved = st.button("Save", key="runs_save", type="primary", on_click=_save, args=(runs, common))
        left = st.button("Cancel", key="runs_cancel", on_click=_close)
    if saved or left:
        st.rerun()


def _save(runs: list[RunInfo], common: list[str]) -> None:
    state = st.session_state
    wanted = [str(tag) for tag in state["runs_edit_tags"]]

    def write(run: RunInfo) -> None:
        tags = [*(tag for tag in run.tags if tag in wanted or tag not in common), *wanted]
        if len(runs) == 1:
            edits.write_user(run.path, name=state["runs_edit_name"], notes=state["runs_edit_notes"], tags=tags)
        else:
            edits.write_user(run.path, tags=tags)

    _each(runs, write)
    _close()


@st.dialog("Trash", position="right", width="medium", icon=":material/delete:", on_dismiss=_close)
def _trash_drawer() -> None:
    with shell.guard("The trash"):
        infos = edits.list_trash(shell.root())
        if not infos:
            st.caption("The trash is empty. Runs that you delete wait here until you empty it.")
        for info in infos[:50]:
            with st.container(horizontal=True, vertical_alignment="center", border=True):
                size = f"{info.rows:,} rows · {info.created:%Y-%m-%d %H:%M} UTC"
                st.markdown(f"**{esc(info.name, 60)}**  \n:gray[{esc(info.run_id, 80)} · {size}]", width="stretch")
                st.button("Restore", key=f"restore_{info.run_id}", on_click=_restore, args=([info.run_id],))
        if len(infos) > 50:
            st.caption(f"{len(infos) - 50:,} older ones are not listed; restore or empty to see them.")
        if infos:
            st.divider()
            sure = st.checkbox(f"Delete {_counted(len(infos))} for good", key="runs_empty_sure")
            names = [info.run_id for info in infos]
            st.button("Empty the trash", key="runs_empty", disabled=not sure, on_click=_empty, args=(names,))
        if st.button("Close", key="runs_trash_close", on_click=_close):
            st.rerun()


def _restore(run_ids: Iterable[str]) -> None:
    root = shell.root()
    failed: list[str] = []
    for run_id in run_ids:
        try:
            edits.restore(root, run_id)
        except (ExplorerError, OSError) as error:
            failed.append(f"{esc(run_id, 60)}: {esc(error, 400)}")
    _report(failed)


def _empty(run_ids: list[str]) -> None:
    try:
        edits.empty_trash(shell.root(), run_ids)
    except (ExplorerError, OSError) as error:
        _report([esc(error, 400)])
    st.session_state.pop(_NOTICE, None)


def _offer_undo(message: str, done: Sequence[RunInfo], was_archived: bool | None = None) -> None:
    chosen = selection.chosen_ids()
    run_ids = [info.run_id for info in done]
    st.session_state[_NOTICE] = _Notice(message, run_ids, was_archived, chosen)
    if chosen is not None and was_archived is not True:
        selection.select([run_id for run_id in chosen if run_id not in run_ids] or None)


def _undo() -> None:
    notice: _Notice = st.session_state.pop(_NOTICE)
    if notice.was_archived is None:
        _restore(notice.run_ids)
    else:
        was = notice.was_archived
        wanted = set(notice.run_ids)
        _each([info for info in shell.runs() if info.run_id in wanted], lambda info: edits.archive(info.path, was))
    selection.select(notice.chosen)


def _dismiss() -> None:
    st.session_state.pop(_NOTICE, None)


def _each(infos: Iterable[RunInfo], change: Callable[[RunInfo], object]) -> list[RunInfo]:
    """Change each run; those that cannot be changed are reported with the reason. Returns the changed ones."""
    done: list[RunInfo] = []
    failed: list[str] = []
    for info in infos:
        try:
            change(info)
            done.append(info)
        except (ExplorerError, OSError) as error:
            failed.append(f"{esc(info.name, 60)}: {esc(error, 400)}")
    _report(failed)
    return done


def _report(failed: list[str]) -> None:
    st.session_state[_FAILURES] = failed
    shell.refresh()
    mark_stale()


def _named(infos: Sequence[RunInfo]) -> str:
    return esc(infos[0].name or infos[0].run_id, 60) if len(infos) == 1 else _counted(len(infos))


def _counted(num: int) -> str:
    return "1 run" if num == 1 else f"{num:,} runs"
