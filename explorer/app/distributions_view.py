"""The Distributions page below its controls: a tensor over the steps and at the step of the slider, live and played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import live, shell
from explorer.app.colours import run_places
from explorer.app.distributions_choices import Choices
from explorer.app.distributions_data import read
from explorer.app.distributions_labels import labels
from explorer.app.distributions_over_steps import over_steps
from explorer.app.distributions_slice import at_a_step
from explorer.app.distributions_steps import StepSlider
from explorer.app.names import esc, run_labels
from explorer.app.tensor_kinds import LABELS

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_PLAY_S: Final = 0.4


def distributions(infos: Sequence[RunInfo], choices: Choices) -> None:
    """Draw both parts in one fragment, so that the step of the slider is marked over the steps.

    It is drawn again while the steps are played, and while a run is running.
    """
    if choices.kind == LABELS:
        labels(infos, choices.tensor)
        return
    slider = StepSlider("distributions")
    playing = slider.playing

    def draw(now: Sequence[RunInfo]) -> None:
        if slider.playing != playing:
            st.rerun()
        found, without = read(now, run_labels(now), run_places(shell.root(), now), choices.tensor, choices.kind)
        if not found:
            st.info(f"{esc(choices.tensor, 120)} is not recorded in the selected runs.", icon=":material/search_off:")
            return
        top = st.container()
        step = int(found[0].rows.step[-1])
        with shell.guard("The distribution at a step"):
            step = at_a_step(found, choices, slider)
        with top, shell.guard("The tensor over the steps"):
            over_steps(found, without, now, choices, step)

    live.follow(infos, draw, "The tensor", every_s=_PLAY_S if playing else None)
