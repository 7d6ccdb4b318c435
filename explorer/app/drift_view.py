"""The page Drift below its controls: heat map, table and the cell that is looked at, drawn again as a run grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from explorer.app import links, shell, state
from explorer.app.colours import run_places
from explorer.app.distributions_steps import StepSlider
from explorer.app.drift_choices import STEP, DriftChoices, reference_text
from explorer.app.drift_data import cell_of, drifted, rows_shown, steps_of
from explorer.app.drift_map import drift_map
from explorer.app.drift_pair import drift_pair
from explorer.app.drift_table import drift_table
from explorer.app.names import esc, run_labels
from explorer.app.tensor_kinds import KINDS, say_problems

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo


def drift(infos: Sequence[RunInfo], choices: DriftChoices) -> None:
    """Draw everything below the controls."""
    by_id = {info.run_id: info for info in infos}
    info, other = by_id[choices.run_id], by_id.get(choices.other_id or "")
    labels, places = run_labels(infos), run_places(shell.root(), infos)
    steps = steps_of(info, choices.kind)
    step = StepSlider("drift").other(steps) if choices.reference == STEP and len(steps) else None
    with st.spinner("Comparing the distributions of all layers"):
        found = drifted(info, other, choices, step)
    if found is None:
        st.info(f"{KINDS[choices.kind]} were not recorded in {esc(labels[info.run_id])}.", icon=":material/search_off:")
        return
    rows = rows_shown(found, choices)
    cell = cell_of(found, rows, state.get(links.TENSOR), _linked_step())
    if cell is None:
        st.info(f"No layer holds {esc(choices.search, 100)}.", icon=":material/search_off:")
        return
    if not np.isfinite(found.matrix.values).any():
        st.info(
            "There is no distance to show yet: it needs a reference and a later sample with finite values.",
            icon=":material/hourglass_empty:",
        )
    against = reference_text(choices, labels, step or 0)
    with shell.guard("The heat map"):
        paths = (str(info.path), None if other is None else str(other.path))
        drift_map(found, rows, cell, choices, against, paths)
    with shell.guard("The two distributions"):
        drift_pair(found, cell, choices, info, other, labels, places)
    st.subheader("All layers", anchor=False)
    with shell.guard("The table of layers"):
        drift_table(found, rows, choices.measure)
    say_problems([one for one in (info, other) if one is not None])


def _linked_step() -> int | None:
    """The step in the address, None when it names none."""
    text = state.get(links.STEP) or ""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None
