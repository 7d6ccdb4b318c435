"""The two distributions behind a cell of the heat map of drift, over each other, with their distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from explorer.app import shell
from explorer.app.distributions_choices import Choices
from explorer.app.distributions_data import Sampled, kept
from explorer.app.distributions_distances import Pair, distances
from explorer.app.distributions_outlines import Outline, numbers, outlines
from explorer.app.drift_choices import DriftChoices, named
from explorer.app.drift_data import Drifted, rows_of

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo


def drift_pair(
    found: Drifted,
    cell: tuple[int, int],
    choices: DriftChoices,
    info: RunInfo,
    other: RunInfo | None,
    labels: Mapping[str, str],
    places: Mapping[str, int],
) -> None:
    """Draw the distribution of the cell over that of its reference; say so when there is none."""
    row, column = cell
    name, step = found.names[row], int(found.matrix.steps[column])
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader(f"{named(name)} at step {step:,}", anchor=False)
        if st.button("Over all steps", icon=":material/bar_chart:", help="The same tensor on the page Distributions"):
            ids = [one.run_id for one in (info, other) if one is not None]
            shell.go("distributions", runs=ids, tensor=name, kind=choices.kind, at=step)
    now = _alone(info, name, choices.kind, step, labels, places)
    pair: Pair | None = None
    if np.isnan(found.matrix.values[row, column]):
        where = labels[other.run_id] if other is not None else "this run"
        st.info(
            f"There is nothing to compare with: no finite value of it was recorded at the reference in {named(where)}, "
            "or at this step itself.",
            icon=":material/search_off:",
        )
    else:
        before = int(found.matrix.reference_steps[row, column])
        pair = Pair(now, _alone(other or info, name, choices.kind, before, labels, places))
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True, gap=None):
        outlines(Choices(choices.kind, name), [now], [] if pair is None else [pair.reference], key="drift")
    with right:
        distances([] if pair is None else [pair])
    numbers([now] if pair is None else [now, pair.reference])


def _alone(
    info: RunInfo, name: str, kind: str, step: int, labels: Mapping[str, str], places: Mapping[str, int]
) -> Outline:
    """The last sample up to a step, on its own: so the axis of values reaches as far as the two that are drawn."""
    rows = rows_of(info, name, kind)
    at = max(int(np.searchsorted(rows.step, step, side="right")) - 1, 0)
    alone = kept(("row", rows, at), lambda: rows.row(at))
    return Outline(Sampled(info, labels[info.run_id], places[info.run_id], alone), 0)
