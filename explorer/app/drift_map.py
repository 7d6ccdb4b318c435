"""The heat map of drift: a row for each layer, a column for each sampled step; a click opens the two distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from explorer.app import drift_export, links, state
from explorer.app.colours import DARK_MUTED, DARK_RAMP, LIGHT_MUTED, LIGHT_RAMP
from explorer.app.distributions_data import kept
from explorer.app.distributions_distances import SHORT
from explorer.app.drift_choices import DriftChoices
from explorer.app.drift_data import Drifted
from explorer.app.names import count_text, esc
from explorer.charts import arrow
from explorer.charts.drift import CELL, MAX_ROWS, drift_spec, drift_tables, scale_top


def drift_map(
    found: Drifted,
    rows: Sequence[int],
    cell: tuple[int, int],
    choices: DriftChoices,
    against: str,
    paths: tuple[str, str | None],
) -> None:
    """Draw the heat map of the rows, at most 60 of them, and say what is drawn.

    Args:
        found: the drift.
        rows: of it, in the order they are shown.
        cell: row and column that are looked at.
        choices: what is compared with what.
        against: the reference in words.
        paths: folders of the run and of the one compared with, for the exports.
    """
    drawn = list(rows[:MAX_ROWS])
    dark = st.context.theme.type == "dark"
    with st.container(border=True, gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{SHORT[choices.measure]} from {esc(against)}**", width="content")
            drift_export.menu(found, drawn, choices, against, lambda: datasets(found, drawn, False, None), paths)
        key = f"drift_map_{len(drawn)}_{choices.measure}"
        spec: dict[str, Any] = {
            **drift_spec(len(drawn), SHORT[choices.measure]),
            "datasets": datasets(found, drawn, dark, cell),
        }
        st.vega_lite_chart(
            spec,
            key=key,
            on_select=lambda: _clicked(key, found.names),
            selection_mode=[CELL],
            alt="Drift of each layer at each sampled step, told in numbers by its tooltip and by the table",
        )
        st.caption(esc(caption(found, rows, drawn, choices), 800))


def datasets(found: Drifted, drawn: Sequence[int], dark: bool, cell: tuple[int, int] | None) -> dict[str, bytes]:
    """Return the tables of the heat map as they are sent."""

    def make() -> dict[str, bytes]:
        picked = np.array(drawn, np.int64)
        tables = drift_tables(
            [found.labels[row] for row in drawn],
            # Numbers instead of names: what comes back is looked up, whatever characters a name holds.
            [str(row) for row in drawn],
            found.matrix.steps,
            found.matrix.values[picked],
            found.matrix.null[picked],
            (DARK_RAMP if dark else LIGHT_RAMP)[1:],
            DARK_MUTED if dark else LIGHT_MUTED,
            found.alarms[picked],
            found.matrix.absolute[picked],
            None if cell is None else (str(cell[0]), int(found.matrix.steps[cell[1]])),
        )
        return {name: arrow.ipc(table) for name, table in tables.items()}

    return kept(("drift map", found, tuple(drawn), dark, cell), make)


def caption(found: Drifted, rows: Sequence[int], drawn: Sequence[int], choices: DriftChoices) -> str:
    """Return what is drawn, and how to read it, as plain text."""
    values = found.matrix.values[np.array(drawn, np.int64)]
    within = values <= found.matrix.null[np.array(drawn, np.int64)]
    num_alarms = int(found.alarms[np.array(drawn, np.int64)].sum())
    parts = [
        f"{len(drawn)} of {len(rows)} tensors" if len(drawn) < len(rows) else count_text(len(rows), "tensor"),
        count_text(len(found.matrix.steps), "sampled step"),
        f"grey: within chance ({int(within.sum()):,} of {int(np.isfinite(values).sum()):,} cells)",
        *(["clear: not sampled, or without a finite value"] if not np.isfinite(values).all() else []),
        "click a cell to see both distributions",
    ]
    told = " · ".join(parts) + "."
    if choices.kind == "param":
        told += " Parameters drift in every healthy training, so a high value alone is no fault."
    num_apart = int(found.matrix.absolute[np.array(drawn, np.int64)].any(axis=1).sum())
    if num_apart:
        one = num_apart == 1
        told += (
            f" {count_text(num_apart, 'tensor')} {'was' if one else 'were'} constant at the reference: "
            f"{'its' if one else 'their'} distance is in the unit of the values, and sets no end of the colour scale."
        )
    picked = np.array(drawn, np.int64)
    comparable = np.where(found.matrix.absolute[picked], np.nan, found.matrix.values[picked])
    top = scale_top(comparable)
    num_beyond = int((np.where(np.isfinite(comparable), comparable, 0.0).max(axis=1, initial=0.0) > 2 * top).sum())
    if num_beyond:
        one = num_beyond == 1
        told += f" The strongest colour is {top:.2g}; {num_beyond} tensor{' goes' if one else 's go'} far beyond it."
    if num_alarms:
        which = (
            "1 change since the step before is"
            if num_alarms == 1
            else f"{num_alarms} changes since the step before are"
        )
        told += f" ▲ {which} unusual for the layer itself (robust z above 6)."
    return told


def _clicked(key: str, names: Sequence[str]) -> None:
    """Look at the cell that was clicked; a click beside the cells changes nothing."""
    selection: Mapping[str, Any] = (st.session_state.get(key) or {}).get("selection") or {}
    points = selection.get(CELL) or []
    if not points or not isinstance(points[0], Mapping):
        return
    row, step = str(points[0].get("key", "")), points[0].get("at")
    if row.isascii() and row.isdigit() and int(row) < len(names) and isinstance(step, int | float):
        look_at(names[int(row)], int(step))


def look_at(name: str, step: int) -> None:
    """Make this tensor and step the ones that are looked at, here and in the address."""
    state.put(links.TENSOR, name)
    state.put(links.STEP, str(step))
