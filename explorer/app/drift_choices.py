"""What the page Drift shows: of which run and tensors, by which measure, from what. All of it is in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from explorer.analysis.drift import MEASURES, Measure
from explorer.app import linked, links
from explorer.app.distributions_distances import MEANING, SHORT
from explorer.app.names import esc
from explorer.app.tensor_kinds import KINDS, tensors_of

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

FIRST: Final = "first"
PREVIOUS: Final = "previous"
STEP: Final = "step"
RUN: Final = "run"
MODEL: Final = "model"
CHANGED: Final = "changed"
# Keys of the address that this page alone has: the reference, and the search among layers.
FROM: Final = "from"
LAYER: Final = "layer"
_ORDERS: Final = {MODEL: "Model order", CHANGED: "Changed most"}
_REFERENCE_HELP: Final = (
    "First step: how far the training has come. Previous step: how fast it moves. Chosen step: from there, before and "
    "after. Other run: the same step of another run, or its last one before."
)
# A permuted matrix has the distribution it had.
_BLIND: Final = "None of them sees values that trade places: a tensor can move without any drift."


@dataclass(frozen=True)
class DriftChoices:
    """What is compared with what.

    Attributes:
        run_id: the run.
        kind: of tensors: `param`, `grad`, `update` or `activation`.
        measure: which distance.
        reference: `first`, `previous`, `step` or `run`.
        other_id: the run compared with, when `reference` is `run`.
        order: `model`, or `changed` for those first that changed most.
        search: part of the layers' names.
    """

    run_id: str
    kind: str
    measure: Measure
    reference: str
    other_id: str | None
    order: str
    search: str


def choose(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> DriftChoices | None:
    """Draw the controls of the page and return what they say; None when no run has recorded a tensor."""
    tensors = {info.run_id: tensors_of([info]) for info in infos}
    having = [info for info in infos if tensors[info.run_id]]
    if not having:
        return None
    titles = {info.run_id: labels[info.run_id] for info in having}
    asked = linked.unknown(links.RUN, titles)
    if asked in tensors:
        st.info("The run of the link has recorded no tensors; another one is shown.", icon=":material/link_off:")
    elif asked is not None:
        st.warning(
            f"The run {esc(asked, 80)} of the link is not among the selected ones; another one is shown. Select it in "
            "the sidebar.",
            icon=":material/link_off:",
        )
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(width=230):
            run_id = linked.select("Run", links.RUN, titles, having[0].run_id)
        kinds = {kind: KINDS[kind] for kind in tensors[run_id]}
        with st.container(width=140):
            kind = linked.select("Kind", links.KIND, kinds, next(iter(kinds)))
        about = "  \n".join([*(f"{SHORT[name]}: {MEANING[name]}" for name in MEASURES), _BLIND])
        measure = linked.segments(
            "Distance", links.MEASURE, {name: SHORT[name] for name in MEASURES}, MEASURES[0], help=about
        )
        others = {other: title for other, title in titles.items() if other != run_id}
        reference = _reference(bool(others))
    with st.container(horizontal=True, vertical_alignment="top"):
        other_id = None
        if reference == RUN:
            with st.container(width=230):
                other_id = linked.select("Other run", links.REFERENCE, others, next(iter(others)))
        order = linked.segments("Layers", links.ORDER, _ORDERS, MODEL)
        with st.container(width=280):
            search = linked.search("Search layers", LAYER, "part of a layer's name")
    return DriftChoices(run_id, kind, cast(Measure, measure), reference, other_id, order, search)


def _reference(with_runs: bool) -> str:
    offered = {FIRST: "First step", PREVIOUS: "Previous step", STEP: "Chosen step"}
    if with_runs:
        offered[RUN] = "Other run"
    elif linked.unknown(FROM, offered) == RUN:
        st.info("Select a second run that has recorded tensors to compare with.", icon=":material/link_off:")
    return linked.segments("Distance from", FROM, offered, FIRST, help=_REFERENCE_HELP)


def reference_text(choices: DriftChoices, labels: Mapping[str, str], step: int) -> str:
    """Return what each value is compared with, in words."""
    if choices.reference == RUN and choices.other_id is not None:
        return f"{labels[choices.other_id]} at the same step, or the last before it"
    return {FIRST: "the first sampled step", PREVIOUS: "the sampled step before"}.get(
        choices.reference, f"step {step:,}"
    )


def named(name: str) -> str:
    """Return the name of a tensor for Markdown."""
    return esc(name, 120)
