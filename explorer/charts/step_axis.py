"""Steps on an axis of pixels: which samples a column shows when steps are far apart, or closer than pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def sample_edges(step: npt.NDArray[Any]) -> Floats:
    """Return where the cells of samples meet: half way between neighbouring steps, float64[n + 1].

    The first and the last cell reach as far out as they reach in; a single sample reaches half a step to either side.

    >>> sample_edges(np.array([0, 10, 40])).tolist(), sample_edges(np.array([7])).tolist()
    ([-5.0, 5.0, 25.0, 55.0], [6.5, 7.5])
    """
    at = np.asarray(step, dtype=np.float64)
    if len(at) < 2:
        return np.array([*(at - 0.5), *(at + 0.5)])
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])


def pixel_columns(edges: Floats, low: float, high: float, num: int) -> tuple[Ints, Ints]:
    """Return the samples that each of `num` equal columns from `low` to `high` shows.

    Where cells are wider than columns, a column shows the sample at its middle; else all samples whose cells begin in
    it, so that none is left out.

    Args:
        edges: float64[n + 1], ascending, where cells of samples meet.
        low: left end of the first column.
        high: right end of the last one.
        num: how many columns.

    Returns:
        (first, last), int64[num] each: column c shows the samples `first[c]:last[c]`; none where they are equal.
    """
    ends = np.linspace(low, high, num + 1)
    middle = np.searchsorted(edges, (ends[1:] + ends[:-1]) / 2, side="right") - 1
    outside = (middle < 0) | (middle >= len(edges) - 1)
    begins = np.searchsorted(edges[:-1], ends, side="left").astype(np.int64)
    # A cell that begins here and is narrower than a column may be the middle of none.
    num_begun = begins[1:] - begins[:-1]
    width = np.append(np.diff(edges), np.inf)[np.minimum(begins[:-1], len(edges) - 1)]
    lone = (num_begun == 1) & (width < (high - low) / num) & ~outside
    several = ((num_begun > 1) | lone) & ~outside
    first = np.where(several, np.where(lone, np.minimum(begins[:-1], middle), begins[:-1]), middle)
    last = np.where(several, begins[1:], middle + 1)
    return np.where(outside, 0, first).astype(np.int64), np.where(outside, 0, last).astype(np.int64)


def largest(matrix: npt.NDArray[Any], first: Ints, last: Ints) -> npt.NDArray[np.float32]:
    """Return the largest of the samples of each column: float32[rows, num] of a matrix `[rows, n]`; 0 where none is.

    A mean would hide what happened at a single one of many steps.
    """
    # In front of the end of the last range there has to be something.
    padded = np.concatenate([matrix, np.zeros((len(matrix), 1), matrix.dtype)], axis=1, dtype=np.float32)
    found: npt.NDArray[np.float32] = np.maximum.reduceat(padded, np.stack([first, last], axis=1).ravel(), axis=1)[
        :, ::2
    ]
    found[:, first == last] = 0
    return found
