"""Outputs that are images: original, edited and what changed, side by side."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import streamlit as st

from explorer.app.colours import DARK_DIVERGING, LIGHT_DIVERGING
from explorer.charts.outcome import percent
from explorer.charts.pixels import is_picture, picture, scale_bar, signed, value_range
from explorer.inference.outcome import image_change

_SIDE: Final = 220
_MIN_SIDE: Final = 4  # fewer pixels than that are rather a table


def is_image(output: Any) -> bool:  # noqa: ANN401 - [N, ...]
    """Whether outputs [N, H, W] or [N, C, H, W] can be shown as images, by one channel where there are many."""
    shape = output.shape[1:]
    return len(shape) in (2, 3) and is_picture(shape[-2:]) and min(shape[-2:]) >= _MIN_SIDE


def output_image(before: Any, after: Any, ends_of: Any, is_edited: bool) -> None:  # noqa: ANN401 - arrays
    """Draw an output image.

    Args:
        before: of the original model, [H, W] or [C, H, W].
        after: of the edited one.
        ends_of: values between whose ends both are drawn: the original's outputs.
        is_edited: whether there is anything to compare.
    """
    if before.ndim == 3 and len(before) not in (1, 3) and after.shape == before.shape:
        before, after, ends_of = _of_channel(before, after, ends_of, is_edited)
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


def _of_channel(before: Any, after: Any, ends_of: Any, is_edited: bool) -> tuple[Any, Any, Any]:  # noqa: ANN401 - arrays
    """Draw the choice of one of many channels, as of a segmentation; returns what of it is to be drawn."""
    channel = st.selectbox(
        "Channel", range(len(before)), key=f"inference.output.channel.{len(before)}",
        format_func=lambda number: f"{number} of 0 to {len(before) - 1}",
    )  # fmt: skip
    if is_edited:
        changed = float((before.argmax(axis=0) != after.argmax(axis=0)).mean())
        st.caption(f"The largest channel is another one at {percent(changed)} of the pixels.")
    return before[channel], after[channel], ends_of[:, channel]
