"""Paired movement: how the elements of one tensor moved, which its distribution cannot tell.

A permuted weight matrix has the same histogram and has moved by 1.4 times its size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.storage.bins import Histograms, histogram_of

Floats = npt.NDArray[np.float64]


class Movement(NamedTuple):
    """From a reference to some values, element by element. Elements that are not finite in both are left out.

    Attributes:
        relative_change: |values - reference| / |reference| in the L2 norm; infinite where the reference is 0 and the
            values are not, NaN where both are.
        cosine: of the angle between the two; NaN where one of them is 0.
        sign_flips: share of elements that went from one side of 0 to the other; to or from 0 itself is no flip.
        row_change: float64[rows], the relative change of each row; a row is an index of the first dimension, such as
            the weights into one unit.
        row_cosine: float64[rows]. Unlike the change, it does not see that a unit's weights were scaled, which the next
            layer can undo.
        num_left_out: elements that are not finite in both.
        difference: histogram of values - reference, one row.
    """

    relative_change: float
    cosine: float
    sign_flips: float
    row_change: Floats
    row_cosine: Floats
    num_left_out: int
    difference: Histograms


def movement(values: npt.ArrayLike, reference: npt.ArrayLike) -> Movement:
    """Return how far `values` are from `reference`, two real arrays of one shape.

    Raises:
        ValueError: shapes differ, or the numbers are complex.

    >>> moved = movement([[3.0, 0.0], [0.0, -2.0]], [[3.0, 0.0], [0.0, 1.0]])
    >>> round(moved.relative_change, 4), moved.sign_flips, moved.row_change.tolist(), moved.row_cosine.tolist()
    (0.9487, 0.25, [0.0, 3.0], [1.0, -1.0])
    """
    after, before = np.asarray(values), np.asarray(reference)
    if after.shape != before.shape:
        raise ValueError(f"both tensors must have one shape, got {after.shape} and {before.shape}")
    if np.iscomplexobj(after) or np.iscomplexobj(before):
        raise ValueError("movement takes real numbers, got complex ones")
    num_rows = after.shape[0] if after.ndim else 1
    width = after.size // num_rows if num_rows else 0
    after = after.reshape(num_rows, width).astype(np.float64)
    before = before.reshape(num_rows, width).astype(np.float64)
    left_out = ~(np.isfinite(after) & np.isfinite(before))
    num_left_out = int(np.count_nonzero(left_out))
    if num_left_out:
        after[left_out] = before[left_out] = 0.0
    difference = after - before
    squares, reference_squares, moved_squares, products = (
        np.einsum("rw,rw->r", one, other)
        for one, other in ((after, after), (before, before), (difference, difference), (after, before))
    )
    flips = np.count_nonzero((after > 0) & (before < 0)) + np.count_nonzero((after < 0) & (before > 0))
    kept = after.size - num_left_out
    change, cosine = _ratios(squares.sum(), reference_squares.sum(), moved_squares.sum(), products.sum())
    row_change, row_cosine = _ratios(squares, reference_squares, moved_squares, products)
    return Movement(
        relative_change=float(change),
        cosine=float(cosine),
        sign_flips=float(flips / kept) if kept else np.nan,
        row_change=row_change,
        row_cosine=row_cosine,
        num_left_out=num_left_out,
        difference=histogram_of(difference[~left_out] if num_left_out else difference),
    )


def _ratios(squares: Floats, reference: Floats, moved: Floats, products: Floats) -> tuple[Floats, Floats]:
    """Relative change and cosine from sums of squares and products."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.sqrt(moved) / np.sqrt(reference)
        cosine = products / (np.sqrt(squares) * np.sqrt(reference))
    return change, np.clip(cosine, -1.0, 1.0)
