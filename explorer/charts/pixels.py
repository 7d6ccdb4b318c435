"""Arrays as small pictures of whole pixels: images in grey or colour, and signed maps in two colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_NOT_FINITE: Final = (232, 17, 150)


def is_picture(shape: Sequence[int]) -> bool:
    """Whether an example of this shape can be shown: [H, W], or [C, H, W] of 1 or 3 channels; at most 2,048 a side."""
    spatial = tuple(shape[-2:])
    channels = tuple(shape[:-2])
    return len(spatial) == 2 and channels in ((), (1,), (3,)) and all(2 <= side <= 2_048 for side in spatial)


def value_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The ends between which recorded images are drawn: 0 to 1 or 0 to 255 where they fit, else their own ends."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and 64 < high <= 255:
        return 0.0, 255.0
    return (low, high) if high > low else (low, low + 1.0)


def grey(image: npt.NDArray[Any], ends: tuple[float, float]) -> Pixels:
    """[H, W] or [C, H, W] as uint8[H, W]: the mean of the channels, `ends` at 0 and 255; NaN is 0."""
    plain = np.asarray(image, dtype=np.float64)
    return _levels(plain.mean(axis=0) if plain.ndim == 3 else plain, ends)


def picture(image: npt.NDArray[Any], ends: tuple[float, float], side: int = 220) -> Pixels:
    """[H, W] or [C, H, W] as uint8[h, w, 3] of about `side` pixels, each value a square; NaN is magenta."""
    plain = np.asarray(image, dtype=np.float64)
    channels = plain if plain.ndim == 3 else plain[None]
    rgb = np.stack([_levels(channels[place % len(channels)], ends) for place in range(3)], axis=-1)
    rgb[~np.isfinite(channels).all(axis=0)] = _NOT_FINITE
    return enlarged(rgb, side)


def signed(values: npt.NDArray[Any], colours: Sequence[str], top: float | None = None, side: int = 220) -> Pixels:
    """[H, W] as uint8[h, w, 3] in diverging colours, 0 in their middle.

    Args:
        values: any finite numbers; NaN is magenta.
        colours: `#rrggbb`, most negative first.
        top: the magnitude that has the strongest colours; None is the largest.
        side: about how many pixels the picture has a side.
    """
    plain = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(plain)
    largest = float(np.abs(plain[finite]).max(initial=0.0)) if top is None else top
    share = np.where(finite, plain, 0.0) / (largest or 1.0)
    scale = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours], dtype=np.float64)
    place = (np.clip(share, -1.0, 1.0) + 1) / 2 * (len(scale) - 1)
    below = np.minimum(np.floor(place).astype(np.int64), len(scale) - 2)
    part = (place - below)[..., None]
    rgb = np.round(scale[below] * (1 - part) + scale[below + 1] * part).astype(np.uint8)
    rgb[~finite] = _NOT_FINITE
    return enlarged(rgb, side)


def scale_bar(colours: Sequence[str], width: int, height: int = 12) -> Pixels:
    """uint8[height, width, 3]: the colours of `signed` from the most negative to the most positive value."""
    return signed(np.linspace(-1.0, 1.0, width)[None].repeat(height, axis=0), colours, 1.0, side=1)


def shown_width(shape: Sequence[int], side: int) -> int:
    """How wide to show a picture [..., H, W] so that it is at most `side` wide and not much higher, as sequences are.

    >>> shown_width((1, 8, 8), 300), shown_width((20, 3), 300), shown_width((2_000, 2), 300)
    (300, 63, 24)
    """
    height, width = shape[-2:]
    return max(24, min(side, round(1.4 * side * width / height)))


def enlarged(rgb: Pixels, side: int) -> Pixels:
    """uint8[H, W, 3 or 4] with pixels repeated a whole number of times, so that the longer side is about `side`."""
    times = max(1, side // max(rgb.shape[:2]))
    larger: Pixels = rgb.repeat(times, axis=0).repeat(times, axis=1)
    return larger


def _levels(values: npt.NDArray[np.float64], ends: tuple[float, float]) -> Pixels:
    share = (np.nan_to_num(values, nan=ends[0]) - ends[0]) / (ends[1] - ends[0])
    levels: Pixels = np.round(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
    return levels
