"""Outputs that are no numbers: said so, since a class or a change that is read from them means nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st


def num_strange(values: Any) -> int:  # noqa: ANN401 - an array of floating numbers
    """How many values are NaN or plus infinity; minus infinity is how models mask what cannot be.

    >>> num_strange(np.array([1.0, np.nan, np.inf, -np.inf]))
    2
    """
    return int(np.count_nonzero(np.isnan(values) | np.isposinf(values)))


def warn(before: Any, after: Any, is_edited: bool) -> None:  # noqa: ANN401 - arrays
    """Draw a warning where the output of the example is not all numbers, with where to look.

    Args:
        before: the original's output.
        after: the edited one's, the same array without edits.
        is_edited: whether there are edits.
    """
    original, edited = num_strange(before), num_strange(after) if is_edited else 0
    if original:
        st.warning(
            f"{_share(original, np.size(before))} of the unedited model are NaN or infinite: with these weights, or "
            "for this input, the computation overflows. Choose an earlier step or another example; the page Layers "
            "shows which layer left the range first.",
            title="The output is not a number",
            icon=":material/error:",
        )
    elif edited:
        st.warning(
            f"{_share(edited, np.size(after))} of the edited model are NaN or infinite, those of the original are not: "
            "the edits make a number overflow. Scale by less or switch an edit off; the tab Where it matters shows "
            "at which module it begins.",
            title="The edited output is not a number",
            icon=":material/error:",
        )


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,} values"
