"""Weights as pictures: which matrix stands for a tensor, and how a large one is brought down to pixels.

Numbers in, numbers out; `explorer.charts.pictures` draws them. A pixel that stands for values of which one is not
finite is NaN, so that it is drawn in a colour of its own and never disappears in a mean.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MAX_PIXELS: Final = 60_000
MAX_TILES: Final = 32
"""Of a mosaic, in each direction."""
_MAX_ROWS: Final = 512
_MAX_COLUMNS: Final = 1_024
_CHUNK_VALUES: Final = 1 << 22


class Pixels(NamedTuple):
    """A picture of a matrix.

    Attributes:
        values: float32 `[rows, columns]`; the mean of each block, NaN where one of its values is not finite.
        rows_each, columns_each: rows and columns of the matrix that one pixel stands for; the last ones may be fewer.
        num_rows, num_columns: of the matrix.
        num_bad: values of the matrix that are not finite.
    """

    values: Floats
    rows_each: int
    columns_each: int
    num_rows: int
    num_columns: int
    num_bad: int

    @property
    def is_averaged(self) -> bool:
        """Whether a pixel stands for more than one value."""
        return self.rows_each > 1 or self.columns_each > 1


def as_matrix(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a tensor as a matrix: a vector or a number is one row, everything behind the first size one column each.

    >>> as_matrix(np.zeros((8, 3, 5, 5))).shape, as_matrix(np.zeros(4)).shape, as_matrix(np.float32(1)).shape
    ((8, 75), (1, 4), (1, 1))
    """
    values = np.asarray(values)
    if values.ndim < 2:
        return values.reshape(1, -1)
    return values.reshape(values.shape[0], math.prod(values.shape[1:]))


def average_down(matrix: npt.NDArray[Any], max_pixels: int = MAX_PIXELS) -> Pixels:
    """Return the picture of a matrix with at most so many pixels; each is the mean of a block of whole values.

    Complex values are drawn by their size, booleans as 0 and 1. At most 64 MB are used, whatever the matrix.
    """
    num_rows, num_columns = matrix.shape
    rows_each, columns_each = block_size(num_rows, num_columns, max_pixels)
    starts = np.arange(0, num_columns, columns_each)
    widths = np.diff(np.append(starts, num_columns))
    out = np.empty((-(-num_rows // rows_each), len(starts)), np.float32)
    num_bad = 0
    # Whole pixels at a time: a matrix of a million rows is never there a second time.
    step = max(1, _CHUNK_VALUES // max(1, num_columns * rows_each))
    for first in range(0, len(out), step):
        part = _real(matrix[first * rows_each : (first + step) * rows_each])
        bad = part.size - int(np.isfinite(part).sum())
        num_bad += bad
        if not part.size:
            continue
        if bad:
            part[~np.isfinite(part)] = np.nan
        tops = np.arange(0, len(part), rows_each)
        heights = np.diff(np.append(tops, len(part)))
        sums = np.add.reduceat(np.add.reduceat(part, starts, axis=1), tops, axis=0)
        with np.errstate(over="ignore"):
            out[first : first + step] = sums / (heights[:, None] * widths[None, :])
    return Pixels(out, rows_each, columns_each, num_rows, num_columns, num_bad)


def block_size(num_rows: int, num_columns: int, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return how many rows and columns one pixel stands for: at most 512 rows and 1,024 columns of pixels.

    >>> block_size(100, 100), block_size(1_000_000, 64), block_size(4096, 4096)
    ((1, 1), (1954, 1), (24, 12))
    """
    rows_each, columns_each = -(-num_rows // _MAX_ROWS) or 1, -(-num_columns // _MAX_COLUMNS) or 1
    while (tall := -(-num_rows // rows_each)) * (wide := -(-num_columns // columns_each)) > max_pixels:
        if 2 * tall > wide:
            rows_each += 1
        else:
            columns_each += 1
    return rows_each, columns_each


class Mosaic(NamedTuple):
    """Filters of a convolution side by side.

    Attributes:
        values: float32 `[rows, columns]`, with NaN between the tiles.
        first_out, num_out, num_in: output channels from `first_out` on and input channels (from 0) that are drawn.
        tile: height and width of a filter.
        out_is_x: output channels stand from left to right and input channels from top to bottom, which few input
            channels ask for; otherwise the other way round.
    """

    values: Floats
    first_out: int
    num_out: int
    num_in: int
    tile: tuple[int, int]
    out_is_x: bool


def mosaic(weight: npt.NDArray[Any], first_out: int = 0) -> Mosaic:
    """Return the filters `[out, in, kernel...]` of a convolution as one picture of at most 32 by 32 tiles.

    A kernel of one size is a row; of three, its depths stand below each other.

    Raises:
        ValueError: the tensor has fewer than three sizes, or one of them is 0.
    """
    if weight.ndim < 3 or not weight.size:
        raise ValueError(f"filters have three sizes or more, none of them 0; found {list(weight.shape)}")
    first_out = min(max(first_out, 0), weight.shape[0] - 1)
    shown = _real(weight[first_out : first_out + MAX_TILES, :MAX_TILES])
    width = shown.shape[-1]
    tiles = shown.reshape(*shown.shape[:2], -1, width)
    num_out, num_in, height, _ = tiles.shape
    out_is_x = 2 * num_in <= num_out
    placed = tiles.swapaxes(0, 1) if out_is_x else tiles
    num_rows, num_columns = placed.shape[:2]
    out = np.full((num_rows * (height + 1) - 1, num_columns * (width + 1) - 1), np.nan, np.float32)
    for row in range(num_rows):
        for column in range(num_columns):
            y, x = row * (height + 1), column * (width + 1)
            out[y : y + height, x : x + width] = placed[row, column]
    return Mosaic(out, first_out, num_out, num_in, (height, width), out_is_x)


def reach(values: npt.NDArray[Any]) -> float:
    """Return the largest finite size of the values, for colours that are centred on 0; 1 when there is none above 0."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def _real(values: npt.NDArray[Any]) -> Floats:
    """A float32 copy: sizes of complex values, booleans as 0 and 1."""
    if np.iscomplexobj(values):
        values = np.abs(values)
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float32)
