"""The compared runs at a glance: which they are, how they ended, how far they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from explorer.app import shell
from explorer.app.colours import DARK, LIGHT, STROKES, run_slots
from explorer.app.names import plain
from explorer.app.run_tables import number_column
from explorer.app.run_text import duration_text, moment_text, number_text
from explorer.app.table_heights import table_height

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo


def overview(infos: Sequence[RunInfo], labels: Mapping[str, str], reference: str) -> None:
    """Draw one row per run in its colour, in the order given; a tick opens the run."""
    slots = run_slots(shell.root(), infos)
    palette = DARK if st.context.theme.type == "dark" else LIGHT
    colours = [palette[slots[info.run_id].colour] for info in infos]
    frame = pd.DataFrame(
        {
            "": [STROKES[slots[info.run_id].dash] for info in infos],
            "run": [labels[info.run_id] + (" (reference)" if info.run_id == reference else "") for info in infos],
            "state": [info.state for info in infos],
            "group": [plain(info.group or "", 80) for info in infos],
            "tags": [", ".join(plain(tag, 40) for tag in info.tags) for info in infos],
            "created": [moment_text(info.created) for info in infos],
            "duration": [info.duration_s for info in infos],
            "last step": number_column(info.last_step for info in infos),
            "rows": number_column(info.rows for info in infos),
            "attempts": [info.num_attempts for info in infos],
        }
    )
    empty = [name for name in ("group", "tags") if not any(frame[name])]
    frame = frame.drop(columns=empty)
    style = frame.style.apply(lambda _: [f"color: {colour}; font-weight: bold" for colour in colours], subset=[""])
    style = style.format({"duration": _duration, "last step": _count, "rows": _count})
    event = st.dataframe(
        style,
        hide_index=True,
        height=table_height(len(frame)),
        column_config={"": st.column_config.TextColumn("", width=48)},
        placeholder="",
        on_select="rerun",
        selection_mode="single-row",
        key=f"compare_overview_{len(infos)}",
        alt="The compared runs",
    )
    rows = list(event["selection"]["rows"])
    if rows and rows[0] < len(infos):
        shell.go("run", run=infos[rows[0]].run_id)


def _duration(value: object) -> str:
    return duration_text(value) if isinstance(value, float) else ""


def _count(value: object) -> str:
    return number_text(value) if isinstance(value, float) else ""
