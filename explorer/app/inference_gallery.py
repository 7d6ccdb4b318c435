"""The recorded images side by side: a click chooses the example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import links, state
from explorer.app.inference_choices import class_name
from explorer.app.inference_picker import Box, picker
from explorer.charts.pixels import picture, value_range

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_MAX_IMAGES: Final = 100
_COLUMNS: Final = 10
_SIDE: Final = 48  # pixels of one image that travel to the browser, at most


def gallery(scene: Scene) -> None:
    """Draw the recorded images, the chosen one outlined."""
    images = scene.model.inputs[scene.path][:_MAX_IMAGES]
    count = min(len(images), scene.model.num_examples)
    if count < 2:
        return
    box = st.expander("Recorded examples", icon=":material/grid_view:", key="inference.gallery", on_change="rerun")
    if not box.open:
        return
    cells = (-(-count // _COLUMNS), min(count, _COLUMNS))
    labels = scene.model.labels
    whole = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    names = [
        f"{place + 1}" + (f" · {class_name(scene.model, int(labels[place]))}" if whole and labels is not None else "")
        for place in range(count)
    ]

    def picked(found: Box) -> None:
        place = found[0] * cells[1] + found[1]
        if place < count:
            state.put(links.EXAMPLE, str(place) if place else None)

    row, column = divmod(scene.example, cells[1])
    marked = [(row, column, row + 1, column + 1)] if scene.example < count else []
    with box:
        picker(f"inference.gallery.{scene.info.run_id}.{scene.path}", sheet(images[:count], cells), cells, picked,
               marked=marked, names=names, side=52 * cells[1])  # fmt: skip
        if count < scene.model.num_examples:
            st.caption(f"The first {count} of {scene.model.num_examples:,}.")


def sheet(images: npt.NDArray[Any], cells: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Images [N, H, W] or [N, C, H, W] as one picture uint8[h, w, 4], row after row, clear pixels between them."""
    ends = value_range(images)
    stride = max(1, -(-max(images.shape[-2:]) // _SIDE))
    small = images[..., ::stride, ::stride]
    height, width = small.shape[-2:]
    found = np.zeros((cells[0] * (height + 1), cells[1] * (width + 1), 4), np.uint8)
    for place, image in enumerate(small):
        top, left = place // cells[1] * (height + 1), place % cells[1] * (width + 1)
        found[top : top + height, left : left + width, :3] = picture(image, ends, side=1)
        found[top : top + height, left : left + width, 3] = 255
    return found
