"""The tabs below input and output: only the open one is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.app import (
    inference_attribution,
    inference_nodes,
    inference_script,
    inference_steps,
    inference_sweep,
    inference_units,
    scroll,
)
from explorer.app.inference_refusal import refusal

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene
    from explorer.inference.edits.recipe import Recipe

TAB: Final = "look"  # key of the address
PLACE: Final = "inference.details"  # of `scroll`
TABS: Final = ("Where it matters", "Over the training", "Attribution", "Units", "Sweep", "Python")


def details(scene: Scene, recipe: Recipe, drawn: Drawn | None, output: Any) -> None:  # noqa: ANN401 - array or None
    """Draw the tabs; `output` is that of the edited model, None when it could not be run."""
    above = st.container()
    tabs = st.tabs(TABS, key=TAB, bind="query-params")
    for name, tab in zip(TABS, tabs, strict=True):
        if not tab.open:
            continue
        with tab, refusal(name):
            if name == "Where it matters":
                inference_nodes.nodes(scene, recipe, drawn)
            elif name == "Over the training":
                inference_steps.steps(scene, recipe, drawn)
            elif name == "Attribution":
                if output is None:
                    st.caption("The edited model has no output to explain.")
                else:
                    inference_attribution.attribution(scene, recipe, drawn, output)
            elif name == "Units":
                inference_units.units(scene, recipe)
            elif name == "Sweep":
                inference_sweep.sweep(scene, recipe, drawn)
            else:
                inference_script.python_script(scene, recipe, drawn)
    with above:
        scroll.mark(PLACE)  # last, so that there is enough below to scroll to
