"""The Inference page below its choices: input and edits on the left, what comes out on the right."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.app import (
    inference_banner,
    inference_details,
    inference_effect,
    inference_forms,
    inference_inputs,
    inference_output,
    inference_recipe,
    inference_session,
    inference_story,
    inference_text,
)
from explorer.app.inference_edit_names import edit_about
from explorer.app.inference_refusal import refusal
from explorer.app.inference_result import first_output, output_kind
from explorer.app.names import esc
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene
    from explorer.inference.edits.recipe import Recipe

_NUM_CONTROLS: Final = 20
_CONTROLS_S: Final = 0.1  # after which a large model has to do with fewer of them


def view(scene: Scene) -> None:
    """Draw everything about a model that can be run."""
    inference_text.settle(scene)
    whole = inference_recipe.current()
    recipe = inference_recipe.switched_on(whole)
    with refusal("model"):
        head, guide = st.container(), st.container()
        drawn = inference_inputs.drawn(scene)
        left, right = st.columns([5, 6], gap="medium")
        with right:
            answer = _outcome(scene, recipe, drawn)
        with left:
            _input(scene, recipe, drawn, answer)
            _edits(scene, whole, recipe, drawn)
        # What hinders the output hinders this too, and has been told there.
        with head, suppress(ExplorerError) if answer is None else refusal("banner"):
            inference_banner.banner(scene)
            if moved := inference_session.note(scene):
                st.caption(f":material/memory_alt: {esc(moved, 400)}")
        with guide:
            inference_story.story(scene, recipe, drawn, answer)
        output = None if answer is None else first_output(answer["after"])
        inference_details.details(scene, recipe, drawn, None if output is None else output[1])
        inference_session.read_ahead(scene)


def _input(scene: Scene, recipe: Recipe, drawn: Drawn | None, answer: dict[str, Any] | None) -> None:
    with st.container(border=True), refusal("input"):
        st.markdown("**Input**")
        seen = None if answer is None else answer["inputs"][scene.path][scene.row]
        inference_inputs.inputs(scene, recipe, drawn, seen)


def _edits(scene: Scene, whole: Recipe, recipe: Recipe, drawn: Drawn | None) -> None:
    with st.container(border=True):
        st.markdown("**Edits**")
        inference_recipe.edit_list(whole, lambda edit: edit_about(scene, edit))
        inference_recipe.trouble()
        weights, activations = st.tabs(["Weights", "Activations"], key="inference.form", on_change="rerun")
        if weights.open:
            with weights:
                inference_forms.weight_form(scene)
        if activations.open:
            with activations:
                inference_forms.activation_form(scene, recipe, drawn)


def _has_classes(scene: Scene, answer: dict[str, Any]) -> bool:
    """Whether controls are drawn beside the output of this one example."""
    found = first_output(answer["before"])
    return found is not None and output_kind(scene.model, found[1]) == "classes"


def _outcome(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> dict[str, Any] | None:
    """Draw what comes out; returns it, or None when the edited model could not be run."""
    is_edited = bool(recipe) or drawn is not None
    answer: dict[str, Any] | None = None
    with st.container(border=True), refusal("output"):
        st.markdown("**Output**")
        # With edits both sides see the drawing, so that the difference is what the edits do.
        given = scene.inputs(drawn if recipe else None)
        found: dict[str, Any] = inference_session.ask(scene, "run", inputs=given, before=False)
        found = {**found, "before": found["after"]}
        if is_edited:
            edited = inference_session.ask(
                scene,
                "run",
                recipe,
                inputs=scene.inputs(drawn),
                controls=_NUM_CONTROLS if recipe and _has_classes(scene, found) else None,
                controls_s=_CONTROLS_S,
                before=False,
            )
            found = {**edited, "before": found["before"]}
        inference_output.output(scene, found, is_edited, (drawn is None or not recipe, drawn is None))
        answer = found
    if recipe and answer is not None:
        with st.container(border=True), refusal("effect"):
            inference_effect.effect(scene, recipe)
    return answer
