"""Which run the Layers page is about, and its tabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import linked, links, shell
from explorer.app.caching import tensor_store
from explorer.app.names import esc
from explorer.app.snapshot_values import usable

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

TAB: Final = "tab"  # key of the address
# What each tab shows.
TABS: Final[Mapping[str, str]] = {
    "Overview": "Every tensor of the model with its last values and their courses; ticked ones are drawn below.",
    "Update ratio": "How far one step moves each layer, relative to the size of its weights.",
    "Gradient flow": "The size of the gradient in every weight, from the first layer to the last.",
    "Compare": "One statistic of all layers: within a step, between two steps, or between two runs on one scale.",
    "Weights": "The values of one tensor in a snapshot, as a picture.",
    "Spectra": "The singular values of one weight matrix, against those of the first snapshot.",
    "Path": "The way of the weights over all snapshots, on the two directions along which they spread most.",
    "CKA": "How alike two layers represent the same batch: between layers, between steps, between runs.",
}


def pick_run(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> RunInfo:
    """Draw the choice among the selected runs, and return the run; by default the newest with layers or snapshots."""
    by_id = {info.run_id: info for info in infos}
    default = next((info for info in infos if tensor_store().names(info.path) or usable(info)), infos[0]).run_id
    asked = linked.unknown(links.RUN, by_id)
    if asked is not None:
        st.warning(
            f"The run {esc(asked, 80)} of the link is not among the selected ones. {esc(labels[default], 80)} "
            "is shown. Select it in the sidebar.",
            icon=":material/link_off:",
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run_id = linked.select(
            "Run", links.RUN, list(by_id), default, format_func=lambda one: labels[one], hide_label=True
        )
        if st.button("Weights", icon=":material/difference:", help="Two snapshots of this run against each other"):
            shell.go("weights", runs=[run_id])
        if st.button("Run", icon=":material/description:", help="Everything else about this run"):
            shell.go("run", run=run_id)
    return by_id[run_id]
