"""The input of the model: an example to draw on, a text to change, or a row of features to move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import streamlit as st

from explorer.app import inference_pad, inference_recipe
from explorer.app.inference_tokens import continuation, token_input
from explorer.app.names import esc
from explorer.charts.pixels import grey, is_picture, picture, value_range
from explorer.inference.edits.kinds.inputs import BOX_BY, SetFeature
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Scene

Kind = Literal["image", "tokens", "table", "other"]

_MAX_SLIDERS: Final = 40
_DRAW, _ERASE = "Draw", "Erase"


def input_kind(scene: Scene) -> Kind:
    """What the example is, as it was recorded or as its shape says."""
    value = scene.recorded
    floating = value.dtype.kind == "f"
    if floating and is_picture(value.shape) and scene.model.kind in ("image", ""):
        return "image"
    if value.ndim == 1 and value.dtype.kind in "iu":
        return "tokens"
    return "table" if floating and value.ndim == 1 else "other"


def drawn(scene: Scene) -> Array | None:
    """The example with what the link says was drawn on it; None where nothing was."""
    value = scene.recorded
    if input_kind(scene) != "image":
        return None
    found = inference_pad.ink(scene.example, value.shape[-2:])
    if found is None:
        return None
    low, high = _ends(scene)
    ink = (low + inference_pad.grey_of(found) / 255 * (high - low)).astype(value.dtype)
    result: Array = np.where(found > 0, ink, value)
    return result


def inputs(scene: Scene, recipe: Recipe, edited: Any) -> None:  # noqa: ANN401 - array or None
    """Draw the example and the ways to change it.

    Args:
        scene: what runs.
        recipe: the edits so far.
        edited: the example after the edits of the input; None: there are none.
    """
    kind = input_kind(scene)
    if kind == "image":
        _image(scene, edited)
    elif kind == "tokens":
        token_input(scene, recipe)
        continuation(scene, recipe)
    elif kind == "table":
        _features(scene, recipe)
    else:
        value = scene.recorded
        shape = " x ".join(map(str, value.shape)) or "one value"
        st.caption(
            f"{esc(scene.path)}: {shape} of {value.dtype}, from {np.min(value):.4g} to {np.max(value):.4g}. "
            "There is no view for such inputs; weights and activations can be edited."
        )


def _ends(scene: Scene) -> tuple[float, float]:
    return value_range(scene.model.inputs[scene.path])


def _image(scene: Scene, edited: Any) -> None:  # noqa: ANN401 - array or None
    value, ends = scene.recorded, _ends(scene)
    height, width = value.shape[-2:]
    left, right = st.columns([3, 2])
    if max(height, width) <= inference_pad.MAX_SIDE:
        with right:
            tool = st.segmented_control("Tool", [_DRAW, _ERASE], default=_DRAW, required=True, key="inference.tool")
            largest = max(1.5, round(max(height, width) / 8) + 0.5)
            brush = st.slider("Brush (pixels)", 0.5, float(largest), 0.5 + (width > 16), 0.5, key="inference.brush")
            st.button(
                "Clear the drawing",
                icon=":material/ink_eraser:",
                key="inference.clear_ink",
                disabled=inference_pad.ink(scene.example, (height, width)) is None,
                on_click=inference_pad.clear,
            )
        with left:
            colours = picture(value, ends, side=1)
            inference_pad.pad(scene.example, grey(value, ends), colours, brush=brush, erase=tool == _ERASE)
    else:
        left.image(picture(value, ends, side=300))
        right.caption(f"{height} x {width} pixels: too many to draw on (at most {inference_pad.MAX_SIDE} a side).")
    if edited is not None and np.shape(edited) == value.shape and not np.array_equal(edited, value):
        with right:
            st.image(picture(edited, ends, side=110), caption="What the edited model sees")
    with st.expander("Boxes and shifts", icon=":material/crop_free:"):
        _box_form(height, width)


def _box_form(height: int, width: int) -> None:
    columns = st.columns(4)
    numbers = {
        "top": columns[0].number_input("Top", 0, height - 1, height // 4, key="inference.box.top"),
        "left": columns[1].number_input("Left", 0, width - 1, width // 4, key="inference.box.left"),
        "height": columns[2].number_input("Height", 1, height, height // 2, key="inference.box.height"),
        "width": columns[3].number_input("Width", 1, width, width // 2, key="inference.box.width"),
    }
    left, right = st.columns(2)
    by = left.selectbox("Fill with", BOX_BY, key="inference.box.by")
    titles = {"value": "Value", "blur": "Blur (pixels)", "noise": "Noise (standard deviation)"}
    amount = right.number_input(
        titles[by], value={"value": 0.0, "blur": 1.0, "noise": 0.2}[by], step=0.1, key=f"inference.box.{by}"
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Add the box",
            key="inference.add.box",
            icon=":material/add:",
            on_click=inference_recipe.append,
            args=(lambda: {"edit": "box", "by": by, "amount": amount, **numbers},),
        )
        down = st.number_input("Down", -height, height, 0, key="inference.shift.down", width=90)
        to_right = st.number_input("Right", -width, width, 1, key="inference.shift.right", width=90)
        st.button(
            "Add the shift",
            key="inference.add.shift",
            icon=":material/open_with:",
            on_click=inference_recipe.append,
            args=(lambda: {"edit": "shift", "down": down, "right": to_right},),
        )


def _features(scene: Scene, recipe: Recipe) -> None:
    """A slider for each feature, from the least to the most among the recorded examples and half as much beyond."""
    table = np.asarray(scene.model.inputs[scene.path], dtype=np.float64)
    row = np.asarray(scene.recorded, dtype=np.float64)
    chosen = {edit.feature: edit.value for edit in recipe if isinstance(edit, SetFeature)}
    columns = st.columns(2)
    for place in range(min(len(row), _MAX_SLIDERS)):
        low, high = float(np.nanmin(table[:, place])), float(np.nanmax(table[:, place]))
        margin = (high - low) / 2 or 1.0
        low, high = low - margin, high + margin
        names = scene.model.feature_names
        name = names[place] if place < len(names) else f"feature {place}"
        key = f"inference.feature.{scene.info.run_id}.{scene.example}.{place}"
        st.session_state[key] = float(np.clip(chosen.get(place, row[place]), low, high))
        columns[place % 2].slider(
            f"{esc(name, 60)} :gray[({row[place]:.4g})]",
            low,
            high,
            step=(high - low) / 200,
            format="%.4g",
            key=key,
            on_change=_moved,
            args=(key, place),
        )
    if len(row) > _MAX_SLIDERS:
        st.caption(f"The first {_MAX_SLIDERS} of {len(row):,} features.")


def _moved(key: str, place: int) -> None:
    value = float(st.session_state[key])
    inference_recipe.replace(
        lambda edit: not (isinstance(edit, SetFeature) and edit.feature == place),
        (SetFeature(feature=place, value=float(f"{value:.6g}")),),
    )
