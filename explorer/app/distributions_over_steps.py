"""A tensor over the steps, a card for each run: heat map, fan of quantiles or ridges, and what is no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from explorer.app import distributions_export, shell, steps_window
from explorer.app.colours import DARK, LIGHT, NUM_COLOURS
from explorer.app.distributions_choices import RIDGES, Choices
from explorer.app.distributions_data import MAX_RUNS, Sampled
from explorer.app.distributions_pictures import Picture, pictures
from explorer.app.distributions_steps import nearest
from explorer.app.distributions_text import nothing_finite
from explorer.app.names import esc, plain
from explorer.app.tensor_kinds import say_problems
from explorer.app.windows import Window
from explorer.charts import arrow
from explorer.charts.heat_map import BRUSH, step_table

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo


def over_steps(
    found: Sequence[Sampled], without: Sequence[str], infos: Sequence[RunInfo], choices: Choices, step: int
) -> None:
    """Draw the tensor over the steps for each run that has recorded it, and say which have not.

    Args:
        found: the tensor of each run that has it, at least one.
        without: labels of the runs that have not.
        infos: all runs.
        choices: what is drawn.
        step: the one that is looked at; each run's nearest sampled step is marked.
    """
    shown = found[:MAX_RUNS]
    for one in shown:
        steps_window.take(_name(choices, one))
    window = steps_window.window()
    _bar(choices, shown, window)
    made = pictures(shown, choices, window)
    if not made:
        st.info("None of the runs has a sample between these steps.", icon=":material/search_off:")
    with st.grid(1 if len(shown) == 1 else 2, gap="small"):
        for picture in made:
            with shell.guard(f"The chart of {picture.sampled.label}"):
                _card(picture, nearest(picture.sampled, step))
    notes = []
    if len(found) > len(shown):
        notes.append(
            f"The newest {len(shown)} of {len(found)} runs are drawn, as many as there are colours; select fewer in "
            "the sidebar to see others."
        )
    if without:
        named = ", ".join(without[:4]) + (f" and {len(without) - 4} more" if len(without) > 4 else "")
        notes.append(f"Not recorded in {named}.")
    if notes:
        st.caption(esc(" ".join(notes), 600))
    say_problems(infos)


def _bar(choices: Choices, shown: Sequence[Sampled], window: Window | None) -> None:
    every = sum(len(one.rows) for one in shown)
    inside = sum(len(one.inside(window)) for one in shown)
    which = "all sampled steps" if window is None else f"{inside:,} of {every:,} samples"
    how = (
        ""
        if choices.view == RIDGES
        else " · drag over a chart to zoom into its steps · upright line: step of the slider below"
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(which + how, width="stretch")
        st.button(
            "All steps",
            key="distributions_reset",
            icon=":material/zoom_out_map:",
            type="tertiary",
            disabled=window is None,
            on_click=steps_window.put,
            args=(None,),
        )


def _card(picture: Picture, row: int) -> None:
    """Draw a card; `row` is the sample at the step that is looked at."""
    one, tensor = picture.sampled, picture.choices.tensor
    dark = st.context.theme.type == "dark"
    with st.container(border=True, gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            colour = (DARK if dark else LIGHT)[one.place % NUM_COLOURS]
            st.markdown(f':color[━━]{{foreground="{colour}"}} **{esc(one.label)}**', width="content")
            distributions_export.menu(picture)
        key = steps_window.key(_name(picture.choices, one))
        data = picture.data(dark)
        if picture.choices.view != RIDGES:
            data = {**data, "step": arrow.ipc(step_table(int(one.rows.step[row])))}
        spec = {**picture.spec, "datasets": data}
        alt = plain(f"{tensor} of {one.label} over the steps, told in numbers by its tooltip and its caption", 300)
        if picture.choices.view == RIDGES:
            st.vega_lite_chart(spec, key=key, alt=alt)
        else:
            st.vega_lite_chart(spec, key=key, on_select="rerun", selection_mode=[BRUSH], alt=alt)
        if not np.isfinite(picture.rows.min).any():
            st.caption(esc(nothing_finite(picture.rows), 300))
        if picture.counts is not None:
            counted, counts = picture.counts
            alt = "Where values are NaN, infinite or exactly zero, over the steps"
            st.vega_lite_chart({**counted, "datasets": counts}, key=f"{key}_counts", alt=alt)
        st.caption(esc(picture.caption, 600))


def _name(choices: Choices, one: Sampled) -> str:
    """A key for the chart of a run; another view is another chart."""
    return f"distribution_{choices.view}_{one.info.run_id}"
