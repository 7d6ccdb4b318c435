"""Mean, spread and extremes of values that are seen piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating[Any]]

PIECE = 1 << 16
# Below this mean square a float32 product loses bits, or is zero.
_SMALLEST_SQUARE = {4: 1e-28, 8: 1e-280}


@dataclass(frozen=True)
class Moments:
    """Of finite values. `m2` is the sum of squared differences from the mean.

    Pieces are joined in float64 by the formulas of Chan, Golub and LeVeque (1979), which cancel nothing.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def plus(self, other: Moments) -> Moments:
        """Of both together."""
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        apart = other.mean - self.mean
        share = other.n / n
        return Moments(n, self.mean + apart * share, self.m2 + other.m2 + apart * apart * self.n * share)

    @property
    def std(self) -> float:
        """Of the population; NaN when there are no values."""
        return math.sqrt(max(self.m2, 0.0) / self.n) if self.n else math.nan

    @property
    def norm(self) -> float:
        """The L2 norm, from the spread and the mean: both are sums of positive numbers."""
        return math.sqrt(max(self.m2, 0.0) + self.n * self.mean * self.mean)


def moments_of(values: Numbers) -> Moments:
    """Of any number of values, float32 or float64, in memory order; NaN and infinities are left out.

    Float32 values are added up in float32 within pieces of 65,536, by numpy's pairwise sum; where that would lose
    digits (the spread is small beside the mean, squares over- or underflow, some value is not finite) the piece is gone
    through again with the mean taken off, or in float64.
    """
    total = Moments()
    for start in range(0, len(values), PIECE):
        total = total.plus(_of_piece(values[start : start + PIECE]))
    return total


def _of_piece(values: Numbers) -> Moments:
    n = len(values)
    with np.errstate(all="ignore"):
        mean = float(values.sum()) / n
        square = float(np.einsum("i,i->", values, values)) / n
        if not _SMALLEST_SQUARE[values.itemsize] < square < math.inf:  # NaN too
            return _carefully(values) if values.any() else Moments(n)
        if square - mean * mean > 0.05 * square:
            return Moments(n, mean, n * (square - mean * mean))
        centred = values - values.dtype.type(mean)
        rest = float(centred.sum()) / n
        square = float(np.einsum("i,i->", centred, centred)) / n
        # Values that are all but equal differ by less than their mean can be told from in float32.
        return Moments(n, float(values.dtype.type(mean)) + rest, n * max(square - rest * rest, 0.0))


def _carefully(values: Numbers) -> Moments:
    wide = values.astype(np.float64)
    wide = wide[np.isfinite(wide)]
    if not len(wide):
        return Moments()
    mean = float(wide.mean())
    wide -= mean
    return Moments(len(wide), mean, float(np.einsum("i,i->", wide, wide)))


def sum_of_squares(values: Numbers) -> float:
    """In float64 over pieces; NaN or infinite where a value is, and only there."""
    total = 0.0
    with np.errstate(all="ignore"):
        for start in range(0, len(values), PIECE):
            piece = values[start : start + PIECE]
            square = float(np.einsum("i,i->", piece, piece))
            if not _SMALLEST_SQUARE[values.itemsize] * len(piece) < square < math.inf:
                wide = piece.astype(np.float64)
                square = float(np.einsum("i,i->", wide, wide))
            total += square
    return total
