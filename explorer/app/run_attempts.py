"""The attempts of a run: every start of every process, where it began, where it ran, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from explorer.analysis.settings import setting_text
from explorer.app.names import plain
from explorer.app.run_tables import MAX_ROWS, number_column, table
from explorer.app.run_text import NONE, duration_text, moment_text, number_text
from explorer.app.table_heights import table_height
from explorer.reading.info import flatten

if TYPE_CHECKING:
    from explorer.reading.attempts import Attempt
    from explorer.reading.runs import Run

_NEVER: Final = object()
_JOURNALS: Final = {
    "mapped": "memory-mapped: a killed process loses no row",
    "buffered": "buffered: a killed process loses at most the last 0.2 s",
}


def attempts(run: Run) -> None:
    """Draw one row per attempt and process, and the settings that attempts added."""
    found = run.attempts
    if not found:
        st.info("No attempt has left a record that can be read.", icon=":material/restart_alt:")
        return
    num_starts = len({attempt.attempt for attempt in found})
    if num_starts > 1:
        st.caption(
            f"{num_starts:,} starts. Where attempts logged the same step, charts show the newest attempt's value; "
            '`open_run("...").scalars(all_attempts=True)` gives all of them.'
        )
    shown = found[-MAX_ROWS:]
    frame = pd.DataFrame(
        {
            "attempt": [attempt.attempt for attempt in shown],
            "rank": [attempt.rank for attempt in shown],
            "started": [moment_text(attempt.started) for attempt in shown],
            "from step": number_column(attempt.resumed_from_step for attempt in shown),
            "last step": number_column(attempt.last_step for attempt in shown),
            "rows": number_column(attempt.rows for attempt in shown),
            "duration": [attempt.duration_s for attempt in shown],
            "state": [_state(run, attempt) for attempt in shown],
            "host": [plain(attempt.host, 120) for attempt in shown],
            "process": [str(attempt.pid or "") for attempt in shown],
            "processes": [attempt.world_size for attempt in shown],
            "journal": [_journal(attempt) for attempt in shown],
        }
    )
    if all(attempt.world_size == 1 and attempt.rank == 0 for attempt in shown):
        frame = frame.drop(columns=["rank", "processes"])
    st.dataframe(
        frame.style.format({"from step": _count, "last step": _count, "rows": _count, "duration": _duration}),
        hide_index=True,
        height=table_height(len(frame)),
        placeholder="",
        column_config={"from step": st.column_config.Column("from step", help="The last step before a resume")},
        alt="Attempts of this run",
    )
    _later_settings(found)


def _later_settings(found: list[Attempt]) -> None:
    """Draw what each later attempt added to the settings of those before it, or changed."""
    known: dict[str, object] = {}
    for attempt in found:
        recorded = attempt.record.get("config")
        settings = flatten(recorded) if isinstance(recorded, dict) else {}
        later = {key: setting_text(value) for key, value in settings.items() if known.get(key, _NEVER) != value}
        if later and known:
            st.markdown(f"**Settings that attempt {attempt.attempt} added or changed**")
            table(later, "setting", "value")
        known.update(settings)


def _state(run: Run, attempt: Attempt) -> str:
    """What the attempt wrote last; one that never said that it ended has been killed, unless it is the one running."""
    if attempt.state != "running":
        return plain(attempt.state or "no totals written", 40)
    newest = max(other.attempt for other in run.attempts)
    return run.info.state if attempt.attempt == newest else "killed"


def _journal(attempt: Attempt) -> str:
    kind = str(attempt.record.get("journal") or "")
    return _JOURNALS.get(kind, plain(kind, 40) or NONE)


def _count(value: object) -> str:
    return number_text(value) if isinstance(value, float) else ""


def _duration(value: object) -> str:
    return duration_text(value) if isinstance(value, float) else ""
