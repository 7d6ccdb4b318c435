"""The value of a node for one example as a picture whose cells name parts of it; pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.charts.pixels import signed

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

MAX_TILES: Final = 256
MAX_CELLS: Final = (256, 512)
_FOLD: Final = 32
_MAX_TILE_SIDE: Final = 48
_TILED: Final = ("channel", "head")


@dataclass(frozen=True, eq=False)
class ValueMap:
    """A picture of a value.

    Attributes:
        pixels: uint8[H, W, 4] with opacity.
        cells: (rows, columns) that can be picked.
        numbers: int[rows, columns], index of the part that each cell belongs to; -1 where there is none.
        largest: the magnitude that has the full colour.
        is_cut: whether there was more than is drawn.
    """

    pixels: Pixels
    cells: tuple[int, int]
    numbers: npt.NDArray[np.int64]
    largest: float
    is_cut: bool

    def boxes(self, chosen: Sequence[int]) -> list[Box]:
        """The cells of the parts that were chosen; neighbours in a row or a column as one box."""
        found = []
        for number in chosen:
            rows, columns = np.nonzero(self.numbers == number)
            if len(rows):
                found.append((int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1))
        return found

    def number(self, box: Box) -> int | None:
        """The part that a picked cell belongs to; None where there is none."""
        found = int(self.numbers[box[0], box[1]])
        return None if found < 0 else found


def value_map(value: Array, part: str, num_heads: int, colours: Sequence[str]) -> ValueMap | None:
    """The picture of one example's value; None where this part of such a value cannot be drawn.

    Args:
        value: [D], [T, D] or [C, H, W] (for attention [heads, T, T]), without the batch.
        part: `unit`, `channel`, `position` or `head`, as `edits.kinds.places` counts them.
        num_heads: that lie side by side in the last dimension; 0: heads have a dimension of their own.
        colours: diverging, most negative first.
    """
    plain = np.asarray(value, dtype=np.float64)
    if not plain.size:
        return None
    if plain.ndim == 3 and part in _TILED and not num_heads:
        return _tiles(plain, colours)
    if plain.ndim == 1 and part in ("unit", "channel"):
        return _folded(plain, colours)
    if plain.ndim != 2 or (part == "head" and (not num_heads or plain.shape[1] % num_heads)):
        return None
    shown = plain[: MAX_CELLS[0], : MAX_CELLS[1]]
    rows, columns = (np.asarray(index, dtype=np.int64) for index in np.indices(shown.shape))
    numbers: npt.NDArray[np.int64] = (
        columns if part == "unit" else columns // (plain.shape[1] // num_heads) if part == "head" else rows
    )
    largest = _largest(shown)
    pixels = _with_opacity(signed(shown, colours, largest, side=1))
    return ValueMap(pixels, shown.shape, numbers, largest, shown.shape != plain.shape)


def toggled(text: str, number: int) -> str:
    """A list of numbers as it is typed, with one put in or taken out.

    >>> toggled("", 3), toggled("0, 3", 3), toggled("0,3", 1), toggled("all", 2)
    ('3', '0', '0,1,3', '2')
    """
    numbers = {int(part) for part in text.replace(" ", "").split(",") if part.isascii() and part.isdigit()}
    return ",".join(map(str, sorted(numbers ^ {number})))


def numbers_of(text: str) -> list[int]:
    """The numbers in a list as it is typed; what is none is left out."""
    parts = text.replace(" ", "").split(",")
    return [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 10]


def _tiles(maps: npt.NDArray[np.float64], colours: Sequence[str]) -> ValueMap:
    """[C, H, W] as tiles with a pixel between them."""
    shown = maps[:MAX_TILES]
    stride = max(1, -(-max(shown.shape[1:]) // _MAX_TILE_SIDE))
    shown = shown[:, ::stride, ::stride]
    count, height, width = shown.shape
    columns = min(count, max(1, int(np.ceil(np.sqrt(count * height / width)))))
    rows = -(-count // columns)
    largest = _largest(shown)
    pixels = np.zeros((rows * (height + 1), columns * (width + 1), 4), np.uint8)
    for number, tile in enumerate(shown):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        pixels[top : top + height, left : left + width] = _with_opacity(signed(tile, colours, largest, side=1))
    return _counted(pixels, (rows, columns), count, largest, count < len(maps))


def _folded(values: npt.NDArray[np.float64], colours: Sequence[str]) -> ValueMap:
    """[D] as rows of at most 32."""
    shown = values[: MAX_CELLS[1]]
    columns = min(_FOLD, len(shown))
    rows = -(-len(shown) // columns)
    padded = np.zeros(rows * columns)
    padded[: len(shown)] = shown
    largest = _largest(shown)
    pixels = _with_opacity(signed(padded.reshape(rows, columns), colours, largest, side=1))
    pixels.reshape(-1, 4)[len(shown) :] = 0
    return _counted(pixels, (rows, columns), len(shown), largest, len(shown) < len(values))


def _counted(pixels: Pixels, cells: tuple[int, int], count: int, largest: float, is_cut: bool) -> ValueMap:
    numbers = np.arange(cells[0] * cells[1], dtype=np.int64)
    numbers[count:] = -1
    return ValueMap(pixels, cells, numbers.reshape(cells), largest, is_cut)


def _largest(values: npt.NDArray[np.float64]) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _with_opacity(rgb: Pixels) -> Pixels:
    full = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    return np.concatenate([rgb, full], axis=2)
