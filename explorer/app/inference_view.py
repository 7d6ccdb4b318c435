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
    inference_output,
    inference_recipe,
    inference_session,
)
from explorer.app.names import esc
from explorer.errors import ExplorerError, SandboxError

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene
    from explorer.inference.edits.recipe import Recipe

_WEIGHTS, _ACTIVATIONS = "Weights", "Activations"


def view(scene: Scene) -> None:
    """Draw everything about a model that can be run."""
    recipe = inference_recipe.current()
    with refusal("model"):
        with st.spinner("Starting the process that runs the model …", show_time=True):
            probe = inference_session.ask(scene, "run")
        inference_banner.banner(scene, probe["before"])
        left, right = st.columns([5, 6], gap="medium")
        with left:
            _edits(scene, recipe)
        with right:
            _outcome(scene, recipe)


def _edits(scene: Scene, recipe: Recipe) -> None:
    with st.container(border=True):
        st.markdown("**Edits**")
        inference_recipe.edit_list(recipe)
        inference_recipe.trouble()
        tabs = st.tabs([_WEIGHTS, _ACTIVATIONS], key="inference.form", on_change="rerun")
        for tab, draw in zip(tabs, (inference_forms.weight_form, inference_forms.activation_form), strict=True):
            if tab.open:
                with tab:
                    draw(scene)


def _outcome(scene: Scene, recipe: Recipe) -> None:
    with st.container(border=True):
        st.markdown("**Output**")
        with refusal("output"):
            original = inference_session.ask(scene, "run", inputs=scene.inputs())
            answer = original
            if recipe:
                edited = inference_session.ask(scene, "run", recipe, inputs=scene.inputs(), control=0)
                answer = {**edited, "before": original["before"]}
            inference_output.output(scene, answer, bool(recipe))
    if recipe:
        with st.container(border=True), refusal("effect"):
            inference_effect.effect(scene, recipe)


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
