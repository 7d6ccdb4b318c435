"""A guided path for models of small digits: draw one, see since when it is read, and which channel it hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import (
    inference_details,
    inference_pad,
    inference_recipe,
    inference_session,
    inference_units,
    links,
    scroll,
    state,
)
from explorer.app.inference_choices import class_name
from explorer.app.inference_places import batched_choices
from explorer.app.inference_refusal import refusal
from explorer.app.inference_result import as_logits, first_output, output_kind
from explorer.app.inference_steps import chosen_steps, over_steps
from explorer.app.names import esc
from explorer.charts.outcome import percent
from explorer.charts.pixels import grey, value_range
from explorer.inference.edits.recipe import Recipe
from explorer.inference.outcome import log_probabilities

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

KEY: Final = "guide"  # of the address
_SIDE: Final = 8
_NUM_DIGITS: Final = 10
_FOUR: Final = (
    "....##..",
    "...###..",
    "..#.##..",
    ".#..##..",
    ".######.",
    "....##..",
    "....##..",
    "....##..",
)
_MAX_CHANNELS: Final = 256


def story(scene: Scene, recipe: Recipe, drawn: Drawn | None, answer: Mapping[str, Any] | None) -> None:
    """Draw the path where the model reads digits of 8 x 8 pixels and has several snapshots.

    Args:
        scene: what runs.
        recipe: the edits.
        drawn: the example with what was drawn on it; None: nothing was.
        answer: of the run on the page; None where it failed.
    """
    found = None if answer is None else first_output(answer["before"])
    is_digits = scene.recorded.shape[-2:] == (_SIDE, _SIDE) and scene.recorded.size == _SIDE * _SIDE
    if (
        found is None
        or not is_digits
        or found[1].shape[-1] != 10
        or len(scene.steps) < 3
        or output_kind(scene.model, found[1]) != "classes"
    ):
        return
    box = st.expander(
        "Try this: draw a digit, see since when it is read, and which channel it hangs on",
        icon=":material/lightbulb:",
        key=KEY,
        on_change="rerun",
        bind="query-params",
    )
    if not box.open:
        return
    with box, refusal("story"):
        _draw_one(scene, drawn)
        if drawn is not None:
            _since_when(scene, drawn)
            _which_channel(scene, recipe, drawn)


def _draw_one(scene: Scene, drawn: Drawn | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**1.** Draw a digit over the example below with the tools *Erase* and *Draw*, or")
        st.button("let a 4 be drawn", key="inference.story.draw", icon=":material/draw:", on_click=_draw_four,
                  args=(scene,))  # fmt: skip
    if drawn is None:
        st.caption("The next parts come when there is a drawing.")


def _draw_four(scene: Scene) -> None:
    """Put a prepared 4 into the link, pixel by pixel over the example."""
    base = grey(scene.recorded, value_range(scene.model.inputs[scene.path]))
    four = np.array([[255 if mark == "#" else 0 for mark in row] for row in _FOUR], np.uint8)
    state.put(links.INK, inference_pad.ink_text(scene.example, four, base))
    state.put(links.STEP, None)
    inference_recipe.clear()


def _since_when(scene: Scene, drawn: Drawn) -> None:
    steps = chosen_steps(scene)
    bar = st.empty()

    def told(done: int) -> None:
        bar.progress(done / len(steps), text="Running every snapshot …")

    outputs = over_steps(scene, (), steps, scene.inputs(drawn), told)[:, scene.row]
    bar.empty()
    predictions = as_logits(outputs)[0].argmax(axis=-1)
    last = int(predictions[-1])
    others = np.flatnonzero(predictions != last)
    read = esc(class_name(scene.model, last), 40)
    if not len(others):
        st.markdown(f"**2.** It is read as a **{read}** at every snapshot: draw one that is harder to read.")
        return
    misread = int(others[-1])
    wrong = esc(class_name(scene.model, int(predictions[misread])), 40)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**2.** At step {steps[misread]:,} it is read as a **{wrong}**; from step {steps[misread + 1]:,} on as a "
            f"**{read}**."
        )
        for step in (steps[misread], steps[-1]):
            st.button(f"See step {step:,}", key=f"inference.story.step.{step}", on_click=_go, args=(scene, step),
                      disabled=scene.step == step)  # fmt: skip
        st.button("See all steps", key="inference.story.all", on_click=_look, args=("Over the training",))


def _which_channel(scene: Scene, recipe: Recipe, drawn: Drawn) -> None:
    """Ablate every channel of the maps in turn and tell the one whose loss hurts the prediction most."""
    choices = {name: choice for name, choice in batched_choices(scene.model, 4).items() if "(" in choice.title}
    places = [
        (name, channel)
        for name, choice in choices.items()
        if isinstance(choice.shape[1], int)
        for channel in range(choice.shape[1])
    ][:_MAX_CHANNELS]
    if not places:
        return
    edits = [{"edit": "ablate", "node": name, "part": f"channel:{channel}"} for name, channel in places]
    answer = inference_session.ask(scene, "sweep", (), inputs=scene.inputs(drawn), edits=edits)
    before = np.exp(log_probabilities(as_logits(answer["before"][scene.row])[0]))
    after = np.exp(log_probabilities(as_logits(answer["after"][:, scene.row])[0]))
    read = int(before.argmax())
    worst = int(after[:, read].argmin())
    name, channel = places[worst]
    then = int(after[worst].argmax())
    module = esc(choices[name].title.partition(" [")[0], 80)
    digit = esc(class_name(scene.model, read), 40)
    becomes = "" if then == read else f" and is read as a **{esc(class_name(scene.model, then), 40)}**"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**3.** At step {scene.step:,} the **{digit}** hangs most on channel {channel} of {module}, of "
            f"{len(places)} that were ablated in turn: without it, it falls from {percent(float(before[read]))} to "
            f"{percent(float(after[worst, read]))}{becomes}."
        )
        is_done = any(
            edit.kind == "ablate" and edit.to_dict().get("part") == f"channel:{channel}"
            and edit.to_dict()["node"] == name
            for edit in recipe
        )  # fmt: skip
        st.button("Ablate it", key="inference.story.ablate", icon=":material/content_cut:", disabled=is_done,
                  on_click=inference_recipe.append, args=(lambda: edits[worst],))  # fmt: skip
        st.button("See what excites it", key="inference.story.units", on_click=_look_at_unit, args=(name, channel))


def _go(scene: Scene, step: int) -> None:
    state.put(links.STEP, None if step == scene.steps[-1] else str(step))


def _look(tab: str) -> None:
    st.session_state[inference_details.TAB] = tab
    scroll.to(inference_details.PLACE)


def _look_at_unit(node: str, unit: int) -> None:
    inference_units.choose(node, unit)
    _look("Units")
