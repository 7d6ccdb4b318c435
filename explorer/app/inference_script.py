"""The page as a Python script."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from explorer.inference.edits.script import script

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Drawn, Scene
    from explorer.inference.edits.recipe import Recipe


def python_script(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> None:
    """Draw the script that gives the same numbers, to be copied or kept."""
    text = script_text(scene, recipe, drawn)
    st.caption("The same model, step, example and edits in Python; the code that trained it is not needed.")
    st.code(text, language="python", height=360)
    st.download_button(
        "Download the script",
        text,
        file_name=f"{scene.info.run_id}-step-{scene.step}.py",
        mime="text/x-python",
        icon=":material/download:",
        on_click="ignore",
    )


def script_text(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> str:
    """The script of `explorer.inference.edits.script` for what is on the page; it leaves `before` and `after`."""
    example = scene.example if scene.model.runs_single else None
    text = script(recipe, str(scene.info.path), scene.step, example=example, weights=scene.file)
    return text if drawn is None else text + _with_drawing(scene, drawn)


def _with_drawing(scene: Scene, drawn: Drawn) -> str:
    """The lines that run the edited model again, on the example with exactly what was drawn on it."""
    lines = "".join(_drawn_on(path, value, scene.row) for path, value in drawn.items())
    rows = f"{scene.example}:{scene.example + 1}" if scene.model.runs_single else ":"
    return f"""
import base64
import zlib

import numpy as np
import torch

inputs = {{path: value[{rows}].clone() for path, value in model.inputs.items()}}
{lines}edited = explorer.apply_recipe(recipe, model, run, inputs=inputs)
if recipe:  # what the edits do to the drawing; without any, what the drawing does
    before = edited.original().outputs
after = edited.run().outputs
print("drawn on:", *before.values(), *after.values(), sep="\\n")
"""


def _drawn_on(path: str, value: Array, row: int) -> str:
    """The lines that put a drawing in the place of an input's example."""
    packed = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 9)).decode()
    return f"""drawn = np.frombuffer(zlib.decompress(base64.b64decode({packed!r})), {value.dtype.name!r})
inputs[{path!r}][{row}] = torch.from_numpy(drawn.reshape({value.shape}).copy())
"""
