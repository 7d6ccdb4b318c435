"""The code of a run: its commit, and what was changed beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import streamlit as st

from explorer.analysis.patches import FilePatch, split_patch
from explorer.app.names import esc, plain
from explorer.app.run_text import block_text, number_text

_MAX_LINES: Final = 1_500
_MAX_CHARS: Final = 150_000


def code(git: Mapping[str, Any] | None, patch: str | None, run_id: str) -> None:
    """Draw commit, branch and uncommitted changes; say so when the run was not in a git repository."""
    if not git:
        st.info(
            "This run was not started in a git repository, so its code is not known. Start trainings in one, and the "
            "commit and all uncommitted changes are recorded.",
            icon=":material/code_off:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.code(plain(git.get("commit") or "unknown commit", 80), language=None, width="content")
        branch, remote = git.get("branch"), git.get("remote")
        parts = [f"branch {plain(branch, 120)}" if branch else "no branch"]
        parts += [plain(remote, 300)] if remote else []
        st.caption(" · ".join(esc(part, 400) for part in parts))
    if not patch:
        st.caption(_without_patch(git.get("dirty")))
        return
    _changes(patch, run_id)


def _without_patch(dirty: object) -> str:
    if dirty is False:
        return "No uncommitted changes: the commit is exactly what ran, apart from files that git does not track."
    if dirty is True:
        return "There were uncommitted changes, but they were not recorded."
    return "Whether there were uncommitted changes is not known: git did not answer in time."


def _changes(patch: str, run_id: str) -> None:
    parts = split_patch(patch)
    added, removed = sum(part.added for part in parts), sum(part.removed for part in parts)
    files = "1 file" if len(parts) == 1 else f"{len(parts):,} files"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**Uncommitted changes** in {files}: {added:,} lines added, {removed:,} removed")
        st.download_button(
            "Patch", patch, f"{run_id}.patch", "text/x-diff", icon=":material/download:", on_click="ignore",
            help=f"Put the code back as it ran: check out the commit, then `git apply {run_id}.patch`",
        )  # fmt: skip
    text = patch
    if len(parts) > 1:
        chosen = _choose_file(parts)
        text = patch if chosen is None else parts[chosen].text
    lines = block_text(text, _MAX_CHARS).split("\n")
    st.code("\n".join(lines[:_MAX_LINES]), language="diff", height="content" if len(lines) <= 30 else 640)
    if len(lines) > _MAX_LINES or len(text) > _MAX_CHARS:
        st.caption(f"Cut here after {number_text(min(len(lines), _MAX_LINES))} lines; the download has all of it.")


def _choose_file(parts: list[FilePatch]) -> int | None:
    frame = pd.DataFrame(
        {
            "file": [plain(part.file, 300) for part in parts],
            "added": [part.added for part in parts],
            "removed": [part.removed for part in parts],
        }
    )
    event = st.dataframe(
        frame,
        hide_index=True,
        height="content" if len(parts) <= 8 else 300,
        on_select="rerun",
        selection_mode="single-row",
        key="run_patch_files",
        alt="Files with uncommitted changes; choose one to see only its changes",
    )
    rows = list(event["selection"]["rows"])
    return rows[0] if rows and rows[0] < len(parts) else None
