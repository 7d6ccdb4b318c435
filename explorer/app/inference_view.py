"""The Inference page below its choices: input and edits on the left, what comes out on the right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from explorer.app import (
    inference_banner,
    inference_effect,
    inference_forms,
    inference_inputs,
    inference_output,
    inference_recipe,
    inference_session,
)
from explorer.app.names import esc
from explorer.errors import ExplorerError, SandboxError

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Scene
    from explorer.inference.edits.recipe import Recipe


def view(scene: Scene) -> None:
    """Draw everything about a model that can be run."""
    recipe = inference_recipe.current()
    with refusal("model"):
        with st.spinner("Starting the process that runs the model …", show_time=True):
            probe = inference_session.ask(scene, "run")
        inference_banner.banner(scene, probe["before"])
        drawn = inference_inputs.drawn(scene)
        left, right = st.columns([5, 6], gap="medium")
        with right:
            edited = _outcome(scene, recipe, drawn)
        with left:
            _input(scene, recipe, edited)
            _edits(scene, recipe)


def _input(scene: Scene, recipe: Recipe, edited: Array | None) -> None:
    with st.container(border=True), refusal("input"):
        st.markdown("**Input**")
        inference_inputs.inputs(scene, recipe, edited)


def _edits(scene: Scene, recipe: Recipe) -> None:
    with st.container(border=True):
        st.markdown("**Edits**")
        inference_recipe.edit_list(recipe)
        inference_recipe.trouble()
        tabs = st.tabs(["Weights", "Activations"], key="inference.form", on_change="rerun")
        for tab, draw in zip(tabs, (inference_forms.weight_form, inference_forms.activation_form), strict=True):
            if tab.open:
                with tab:
                    draw(scene)


def _outcome(scene: Scene, recipe: Recipe, drawn: Array | None) -> Array | None:
    """Draw what comes out; returns the example as the edited model sees it, None where that is the recorded one."""
    is_edited = bool(recipe) or drawn is not None
    seen = drawn
    with st.container(border=True), refusal("output"):
        st.markdown("**Output**")
        answer = inference_session.ask(scene, "run", inputs=scene.inputs())
        if is_edited:
            edited = inference_session.ask(
                scene, "run", recipe, inputs=scene.inputs(drawn), control=0 if recipe else None
            )
            answer = {**edited, "before": answer["before"]}
            seen = edited["inputs"][scene.path][scene.row]
        inference_output.output(scene, answer, is_edited)
    if recipe:
        with st.container(border=True), refusal("effect"):
            inference_effect.effect(scene, recipe)
    return seen


@contextmanager
def refusal(what: str) -> Iterator[None]:
    """Turn what the child process refuses, or what ended it, into a message with a way on."""
    try:
        yield
    except ExplorerError as error:
        ended = isinstance(error, SandboxError)
        st.error(
            esc(error, 1_000),
            title=inference_session.trouble_of(error),
            icon=":material/report:" if ended else ":material/block:",
        )
        st.button(
            "Run again", key=f"inference.again.{what}", icon=":material/refresh:", on_click=inference_session.run_again
        )
