"""Pictures of a matrix: PNG with a palette, small enough to travel inside a chart's table."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PALETTE_COLOURS: Final = 3  # colour type of the PNG specification: one byte a pixel, an index into PLTE
Colour = tuple[int, int, int]


def indexed_png(pixels: npt.NDArray[np.uint8], palette: Sequence[Colour], clear: int | None = None) -> bytes:
    """Return a PNG whose pixel at row r, column c has the colour `palette[pixels[r, c]]`.

    Args:
        pixels: `[height, width]`, the top row first.
        palette: at most 256 colours.
        clear: the index that is drawn as nothing at all.
    """
    height, width = pixels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # the first byte of each row is its filter: none
    rows[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", width, height, 8, _PALETTE_COLOURS, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"PLTE", bytes(value for colour in palette for value in colour))]
    if clear is not None:
        parts.append(_chunk(b"tRNS", bytes(0 if index == clear else 255 for index in range(len(palette)))))
    parts += [_chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(parts)


def data_uri(png: bytes) -> str:
    """Return the address that holds the picture itself, for the mark `image` of a chart."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def ramp(colours: Sequence[str], num: int) -> list[Colour]:
    """Return `num` colours from the first to the last of `colours` (`#rrggbb`), evenly spaced.

    >>> ramp(["#000000", "#ffffff"], 3)
    [(0, 0, 0), (128, 128, 128), (255, 255, 255)]
    """
    known = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in colours], dtype=np.float64)
    at = np.linspace(0, len(known) - 1, num)
    mixed: npt.NDArray[Any] = np.stack([np.interp(at, np.arange(len(known)), known[:, part]) for part in range(3)], 1)
    return [(int(r), int(g), int(b)) for r, g, b in np.floor(mixed + 0.5)]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
