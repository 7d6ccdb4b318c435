"""The files of a run: names, sizes, rows, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from explorer.app.names import esc, plain
from explorer.app.run_tables import MAX_ROWS, number_column
from explorer.app.run_text import bytes_text, number_text
from explorer.app.table_heights import table_height
from explorer.reading.files import RunFile, count_foreign, list_files, list_missing, verify_files

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_FINE: Final = ("ok", "readable", "values not checked")
_MAX_NAMED: Final = 5
_VERIFIED: Final = "run_verified"  # session: (run id, what the last check found)
_WHAT: Final[Mapping[str, str]] = {
    "identity": "who the run is",
    "edits": "edited in the app",
    "patch": "uncommitted changes",
    "attempt": "one start of the process",
    "totals": "state and totals",
    "segment": "rows, sealed",
    "journal": "rows, live",
    "model": "what was watched",
    "tensors": "statistics of tensors",
    "snapshot": "values of tensors",
}


def files(info: RunInfo) -> None:
    """Draw the table of files with the check of all checksums."""
    found = list_files(info.path)
    verified = _verified(info.run_id)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        total = sum(file.size_bytes for file in found)
        st.markdown(f"**{len(found):,} files, {bytes_text(total)}**")
        if st.button(
            "Verify all checksums",
            icon=":material/verified:",
            help="Reads every file whole: every bit is covered by a checksum. The table itself looks only at the ends.",
        ):
            with st.spinner("Reading every file …"):
                verified = verify_files(info.path)
            st.session_state[_VERIFIED] = (info.run_id, verified)
    _say(found, list_missing(info.path), verified, info.state == "running")
    shown = sorted(found, key=lambda file: _state(file, verified) in _FINE)[:MAX_ROWS]
    frame = pd.DataFrame(
        {
            "file": [plain(file.name) for file in shown],
            "what": [_WHAT[file.kind] for file in shown],
            "size": [file.size_bytes for file in shown],
            "rows": number_column(file.rows for file in shown),
            "metrics or tensors": number_column(file.num_metrics for file in shown),
            "state": [_state(file, verified) for file in shown],
        }
    )
    style = frame.style.map(lambda state: "" if state in _FINE else "background-color: #d0190433", subset=["state"])
    st.dataframe(
        style.format({"size": _size_text, "rows": _count_text, "metrics or tensors": _count_text}),
        hide_index=True,
        placeholder="",
        height=table_height(len(frame)),
        column_config={"state": st.column_config.TextColumn("state", width="large")},
        alt="Files of this run",
    )
    foreign = count_foreign(info.path)
    notes = [f"Folder: {esc(info.path, 400)}."]
    if foreign:
        notes.append(f"{foreign:,} other files lie in it; they are not ours and are never opened.")
    if len(found) > MAX_ROWS:
        notes.append(f"The first {MAX_ROWS:,} files are listed.")
    st.caption(" ".join(notes))


def _verified(run_id: str) -> dict[str, str] | None:
    checked = st.session_state.get(_VERIFIED)
    return checked[1] if checked and checked[0] == run_id else None


def _say(found: list[RunFile], missing: list[str], verified: dict[str, str] | None, running: bool) -> None:
    lines = [f"- {esc(gap)}" for gap in missing]
    names = {file.name for file in found}
    lines += [f"- {esc(name)}: {esc(reason, 400)}" for name, reason in (verified or {}).items() if name not in names]
    if lines:
        st.warning("\n".join(lines[:20]), title="Something is missing", icon=":material/scan_delete:")
    bad = [file for file in found if _state(file, verified) not in _FINE]
    if bad:
        named = "\n".join(f"- {esc(file.name)}: {esc(_state(file, verified), 400)}" for file in bad[:_MAX_NAMED])
        st.error(
            f"{named}\n\nOnly the rows of these files are left out; everything else is read as usual. A copy from a "
            "backup, put back under the same name, is all it takes.",
            title="1 file is damaged" if len(bad) == 1 else f"{len(bad):,} files are damaged",
            icon=":material/broken_image:",
        )
    elif verified is not None and not lines:
        now = " The run goes on; what it wrote since then is not checked." if running else ""
        st.success(f"All checksums are right.{now}", icon=":material/verified:")


def _state(file: RunFile, verified: dict[str, str] | None) -> str:
    reason = (verified or {}).get(file.name) or file.problem
    if reason:
        return plain(reason, 400)
    if verified is not None or file.kind == "journal":
        return "ok"
    return "values not checked" if file.kind in ("segment", "tensors", "snapshot") else "readable"


def _size_text(size: object) -> str:
    return bytes_text(size) if isinstance(size, int) else ""


def _count_text(count: object) -> str:
    return number_text(count) if isinstance(count, float) else ""
