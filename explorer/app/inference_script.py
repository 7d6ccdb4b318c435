"""The page as a Python script."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from explorer.inference.edits.script import script

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Scene
    from explorer.inference.edits.recipe import Recipe


def python_script(scene: Scene, recipe: Recipe, drawn: Array | None) -> None:
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


def script_text(scene: Scene, recipe: Recipe, drawn: Array | None) -> str:
    """The script of `explorer.inference.edits.script` for what is on the page."""
    example = scene.example if scene.model.runs_single else None
    return script(
        str(scene.info.path), scene.step, recipe, example=example, device=scene.device, drawn=_lines(scene, drawn)
    )


def _lines(scene: Scene, drawn: Array | None) -> str:
    """The example with what was drawn on it, exactly."""
    if drawn is None:
        return ""
    packed = base64.b64encode(zlib.compress(np.ascontiguousarray(drawn).tobytes(), 9)).decode()
    return (
        "import base64, zlib\n"
        "import numpy as np\n"
        "import torch\n"
        f"drawn = zlib.decompress(base64.b64decode({packed!r}))\n"
        f"drawn = torch.from_numpy(np.frombuffer(drawn, {drawn.dtype.name!r}).reshape({drawn.shape}).copy())\n"
        f"inputs[{scene.path!r}] = inputs[{scene.path!r}].clone()\n"
        f"inputs[{scene.path!r}][{scene.row}] = drawn"
    )
