"""A tensor at one step: its distribution, beside that of other runs or of another step, and the distance between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import streamlit as st

from explorer.app import linked, links
from explorer.app.distributions_choices import Choices
from explorer.app.distributions_data import MAX_RUNS, Sampled
from explorer.app.distributions_distances import Pair, distances
from explorer.app.distributions_outlines import Outline, numbers, outlines
from explorer.app.distributions_steps import StepSlider, nearest
from explorer.app.names import esc

RUNS: Final = "runs"
FIRST: Final = "first"
PREVIOUS: Final = "previous"
OTHER: Final = "step"


def at_a_step(found: Sequence[Sampled], choices: Choices, slider: StepSlider) -> int:
    """Draw the slider, the distributions at its step, their numbers and their distances; return the step.

    Args:
        found: the tensor of each run that has it, at least one.
        choices: what is drawn.
        slider: over the sampled steps of all of them.
    """
    found = found[:MAX_RUNS]
    steps = np.unique(np.concatenate([one.rows.step for one in found]))
    st.subheader("At one step", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        step = slider.draw(steps)
        against = _against(len(found))
        then = slider.other(steps) if against == OTHER else None
        reference = _reference(found) if against == RUNS and len(found) > 1 else None
    now = [Outline(one, nearest(one, step)) for one in found]
    before = [_before(outline, against, then) for outline in now]
    pairs = _pairs(now, before, reference)
    others = [outline for outline in before if outline is not None]
    left, right = st.columns([3, 2], gap="medium") if len(pairs) == 1 else (st.container(), st.container())
    with left, st.container(border=True, gap=None):
        outlines(choices, now, before if others else [])
    with right:
        distances(pairs)
    _say_nearest(now, step)
    numbers([*now, *others])
    return step


def _against(num_runs: int) -> str:
    titles = {
        RUNS: "Other runs" if num_runs > 1 else "Nothing",
        FIRST: "First step",
        PREVIOUS: "Previous step",
        OTHER: "Chosen step",
    }
    return linked.segments("Compared with", links.AGAINST, titles, RUNS)


def _before(outline: Outline, against: str, then: int | None) -> Outline | None:
    """The same run at the step it is compared with; None when there is none, or it is the same one."""
    if against == RUNS:
        return None
    row = {FIRST: 0, PREVIOUS: outline.row - 1}.get(against)
    if row is None:
        row = nearest(outline.sampled, outline.step if then is None else then)
    return Outline(outline.sampled, row) if row >= 0 and row != outline.row else None


def _reference(found: Sequence[Sampled]) -> str:
    """The run that others are compared with; the oldest one unless somebody chose another."""
    oldest = min(found, key=lambda one: (one.info.created, one.info.run_id)).info.run_id
    titles = {one.info.run_id: one.label for one in found}
    with st.container(width=230):
        return linked.select("Reference", links.REFERENCE, titles, oldest)


def _pairs(now: Sequence[Outline], before: Sequence[Outline | None], reference: str | None) -> list[Pair]:
    """What is compared with what: runs with the reference run, or each run with itself at another step."""
    if reference is None:
        return [Pair(one, other) for one, other in zip(now, before, strict=True) if other is not None]
    other = next(outline for outline in now if outline.sampled.info.run_id == reference)
    return [Pair(outline, other) for outline in now if outline is not other]


def _say_nearest(now: Sequence[Outline], step: int) -> None:
    moved = [f"{outline.sampled.label}: step {outline.step:,}" for outline in now if outline.step != step]
    if moved:
        st.caption(esc(f"Nearest sampled step to {step:,} in {', '.join(moved)}.", 400))
