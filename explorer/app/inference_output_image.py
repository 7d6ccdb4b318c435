"""Outputs that are images: original, edited and what changed, side by side."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import streamlit as st

from explorer.app.colours import DARK_DIVERGING, LIGHT_DIVERGING
from explorer.charts.pixels import is_picture, picture, scale_bar, signed, value_range
from explorer.inference.outcome import image_change

_SIDE: Final = 220
_MIN_SIDE: Final = 4  # fewer pixels than that are rather a table


def is_image(output: Any) -> bool:  # noqa: ANN401 - [N, ...]
    """Whether outputs [N, H, W] or [N, C, H, W] can be shown as images."""
    shape = output.shape[1:]
    return len(shape) >= 2 and is_picture(shape) and min(shape[-2:]) >= _MIN_SIDE


def output_image(before: Any, after: Any, ends_of: Any, is_edited: bool) -> None:  # noqa: ANN401 - arrays
    """Draw an output image.

    Args:
        before: of the original model, [H, W] or [C, H, W].
        after: of the edited one.
        ends_of: values between whose ends both are drawn: the original's outputs.
        is_edited: whether there is anything to compare.
    """
    ends = value_range(ends_of)
    if not is_edited:
        st.image(picture(before, ends, _SIDE), caption="Original", width=_SIDE)
        st.caption(f"Black is {ends[0]:.3g}, white {ends[1]:.3g}.")
        return
    if before.shape != after.shape:
        left, right = st.columns(2)
        left.image(picture(before, ends, _SIDE), caption="Original", width=_SIDE)
        right.image(picture(after, ends, _SIDE), caption="Edited, of another size", width=_SIDE)
        return
    change, numbers = image_change(before, after)
    colours = DARK_DIVERGING if st.context.theme.type == "dark" else LIGHT_DIVERGING
    flat = change.mean(axis=0) if change.ndim == 3 else change
    largest = float(np.abs(flat[np.isfinite(flat)]).max(initial=0.0))
    columns = st.columns(3)
    columns[0].image(picture(before, ends, _SIDE), caption="Original", width="stretch")
    columns[1].image(picture(after, ends, _SIDE), caption="Edited", width="stretch")
    columns[2].image(signed(flat, colours, side=_SIDE), caption="Edited less original", width="stretch")
    columns[2].image(scale_bar(colours, _SIDE), caption=f"-{largest:.3g} … 0 … {largest:.3g}", width="stretch")
    with st.container(horizontal=True, gap="large"):
        st.metric("Root mean square change", f"{numbers['rms']:.3g}")
        st.metric("Largest change", f"{numbers['largest']:.3g}")
        ratio = numbers["psnr_db"]
        st.metric("PSNR", "equal" if math.isinf(ratio) and ratio > 0 else f"{ratio:.3g} dB")
    st.caption(f"Black is {ends[0]:.3g}, white {ends[1]:.3g} in both.")
