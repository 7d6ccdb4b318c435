"""An image as the input: drawn on, brushed in boxes, shifted, or taken from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_pad, inference_recipe
from explorer.app.inference_gallery import gallery
from explorer.app.inference_picker import Box, picker
from explorer.app.inference_upload import Upload, upload_form, uploaded
from explorer.charts.pixels import grey, picture, shown_width, value_range
from explorer.inference.edits.kinds.inputs import BOX_BY

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Scene

_MAX_SENT_SIDE: Final = 384  # pixels that travel to the browser; a box is in those of the image all the same
_DRAW, _ERASE, _BOX = "Draw", "Erase", "Box"
_BRUSHES: Final[Mapping[str, str]] = {
    "zero": "Zero it",
    "value": "Set it to a value",
    "blur": "Blur it",
    "noise": "Add noise to it",
    "shift": "Shift it",
}
_AMOUNTS: Final[Mapping[str, tuple[str, float]]] = {
    "value": ("Value", 1.0),
    "blur": ("Blur (pixels)", 1.0),
    "noise": ("Noise (sd)", 0.2),
}


def drawn_image(scene: Scene) -> Array | None:
    """The example with what was uploaded in its place and drawn on it; None where nothing was."""
    upload = uploaded(scene)
    own = None if upload is None else upload.value
    value = scene.recorded if own is None else own
    found = inference_pad.ink(scene.example, value.shape[-2:], scene.number)
    if found is None:
        return own
    low, high = value_range(scene.model.inputs[scene.path])
    ink = (low + inference_pad.grey_of(found) / 255 * (high - low)).astype(value.dtype)
    result: Array = np.where(found > 0, ink, value)
    return result


def image(scene: Scene, drawn: Array | None, edited: Any) -> None:  # noqa: ANN401 - array or None
    """Draw the image and its tools.

    Args:
        scene: what runs.
        drawn: the example with what was drawn on it; None: nothing was.
        edited: what the edited model sees; None where it could not be run.
    """
    upload = uploaded(scene)
    value = scene.recorded if upload is None or upload.value is None else upload.value
    ends = value_range(scene.model.inputs[scene.path])
    height, width = value.shape[-2:]
    seen = drawn if drawn is not None else value
    if edited is not None and np.shape(edited) == value.shape:
        seen = edited
    can_draw = max(height, width) <= inference_pad.MAX_SIDE
    # In a narrow window the tools go below the picture: beside it, they would be cut off.
    with st.container(horizontal=True):
        left, right = st.container(width=244), st.container(width=165)
    with right:
        tools = [_DRAW, _ERASE, _BOX] if can_draw else [_BOX]
        tool = st.segmented_control("Tool", tools, default=tools[0], required=True, key=f"inference.tool.{len(tools)}")
        if tool == _BOX:
            _brush_form(scene, upload, ends, left, seen)
        else:
            largest = max(1.5, round(max(height, width) / 8) + 0.5)
            brush = st.slider("Brush (pixels)", 0.5, float(largest), 0.5 + (width > 16), 0.5, key="inference.brush")
        if can_draw:
            st.button(
                "Clear the drawing",
                icon=":material/ink_eraser:",
                key="inference.clear_ink",
                disabled=inference_pad.ink(scene.example, (height, width), scene.number) is None,
                on_click=inference_pad.clear,
                args=(scene.example, scene.number),
            )
    if tool != _BOX:
        with left:
            source = "" if upload is None or upload.value is None else upload.source
            colours = picture(value, ends, side=1)
            inference_pad.pad(
                scene.example,
                grey(value, ends),
                colours,
                brush=brush,
                erase=tool == _ERASE,
                source=source,
                number=scene.number,
            )
        if edited is not None and not np.array_equal(seen, drawn if drawn is not None else value):
            with right:
                st.image(picture(edited, ends, side=110), caption="What the edited model sees")
    gallery(scene)
    upload_form(scene, upload)
    with st.expander("Boxes and shifts by numbers", icon=":material/crop_free:"):
        _box_form(scene, height, width)


def _brush_form(scene: Scene, upload: Upload | None, ends: tuple[float, float], where: Any, seen: Any) -> None:  # noqa: ANN401
    """What a dragged box does, and beside it the picture to drag on: what the edited model sees."""
    does = st.selectbox("A dragged box", list(_BRUSHES), format_func=_BRUSHES.__getitem__, key="inference.brush.does")
    amount, down, right = 0.0, 0, 0
    if does in _AMOUNTS:
        title, default = _AMOUNTS[does]
        amount = st.number_input(title, value=default, step=0.1, key=f"inference.brush.{does}")
    elif does == "shift":
        columns = st.columns(2)
        down = int(columns[0].number_input("Down", -4_096, 4_096, 0, key="inference.brush.down"))
        right = int(columns[1].number_input("Right", -4_096, 4_096, 1, key="inference.brush.right"))

    def brushed(box: Box) -> None:
        place: dict[str, int | str] = {
            "top": box[0],
            "left": box[1],
            "height": box[2] - box[0],
            "width": box[3] - box[1],
        }
        place |= {"input": scene.edit_path} if scene.edit_path else {}
        if does == "shift":
            inference_recipe.append(lambda: {"edit": "shift", "down": down, "right": right, **place})
        else:
            by = "value" if does == "zero" else does
            inference_recipe.append(lambda: {"edit": "box", "by": by, "amount": amount, **place})

    rgb = picture(seen, ends, side=1)
    cells = rgb.shape[:2]
    stride = -(-max(cells) // _MAX_SENT_SIDE)
    rgb = rgb[::stride, ::stride]
    pixels = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], axis=2)
    with where:
        picker(f"inference.brush.{scene.info.run_id}", pixels, cells, brushed, drag=True,
               side=shown_width(cells, 300))  # fmt: skip


def _box_form(scene: Scene, height: int, width: int) -> None:
    columns = st.columns(4)
    numbers = {
        "top": columns[0].number_input("Top", 0, height - 1, height // 4, key="inference.box.top"),
        "left": columns[1].number_input("Left", 0, width - 1, width // 4, key="inference.box.left"),
        "height": columns[2].number_input("Height", 1, height, height // 2, key="inference.box.height"),
        "width": columns[3].number_input("Width", 1, width, width // 2, key="inference.box.width"),
    }
    of = {"input": scene.edit_path} if scene.edit_path else {}
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
            args=(lambda: {"edit": "box", "by": by, "amount": amount, **numbers, **of},),
        )
        down = st.number_input("Down", -height, height, 0, key="inference.shift.down", width=90)
        to_right = st.number_input("Right", -width, width, 1, key="inference.shift.right", width=90)
        st.button(
            "Shift the image",
            key="inference.add.shift",
            icon=":material/open_with:",
            on_click=inference_recipe.append,
            args=(lambda: {"edit": "shift", "down": down, "right": to_right, **of},),
        )
