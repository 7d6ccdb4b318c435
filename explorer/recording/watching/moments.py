"""Mean and spread of values that are seen piece by piece.

What values that are not finite do to numpy is expected here: callers switch its warnings off, once for all they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating[Any]]

PIECE = 1 << 17
_ROW = 1 << 13
"""Values that one call of BLAS multiplies: OpenBLAS starts threads beyond 10,000."""
_STRIP = 1 << 10
"""Values that one call of BLAS adds up, as a product with ones: these stay in the processor's first cache."""
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


class RowSums:
    """Sums of a large tensor that is gone through in pieces of `PIECE`, float32 or float64; see `moments`."""

    def __init__(self, n: int, dtype: np.dtype[Any]) -> None:
        self._n, self._num = n, n // _ROW
        self._sums = np.empty((self._num * (_ROW // _STRIP), 1, 1), dtype)
        self._squares = np.empty((self._num, 1, 1), dtype)
        self._ones = _ones(dtype.str)

    def add(self, start: int, values: Numbers) -> None:
        """The piece that begins at `start`, a multiple of `PIECE`."""
        first, num = start // _ROW, len(values) // _ROW
        whole, strips = values[: num * _ROW], _ROW // _STRIP
        np.matmul(whole.reshape(-1, 1, _STRIP), self._ones, out=self._sums[first * strips : (first + num) * strips])
        rows = whole.reshape(num, 1, _ROW)
        np.matmul(rows, rows.reshape(num, _ROW, 1), out=self._squares[first : first + num])

    def moments(self, again: Callable[[int, int], Numbers]) -> Moments:
        """Of all finite values, once every piece was added.

        Float32 values are added up in float32 within rows of 1,024, their squares of 8,192, and in float64 beyond.
        Where that would lose digits (the spread is small beside the mean, squares over- or underflow, some value is not
        finite) the piece is gone through `again(start, end)` with the mean taken off, or in float64.
        """
        mean = np.add.reduce(self._sums.reshape(self._num, _ROW // _STRIP), axis=1, dtype=np.float64) / _ROW
        square = self._squares.ravel() / np.float64(_ROW)
        spread = square - mean * mean
        smallest = _SMALLEST_SQUARE[self._sums.itemsize]
        exact = (square > smallest) & (square < math.inf) & (spread > 0.05 * square)
        bad: list[int] = []
        if not exact.all():
            of_piece = np.logical_and.reduceat(exact, np.arange(0, self._num, PIECE // _ROW))
            kept = np.repeat(of_piece, PIECE // _ROW)[: self._num]
            mean, spread = mean[kept], spread[kept]
            bad = np.flatnonzero(~of_piece).tolist()
        found = Moments()
        if len(mean):
            middle = float(np.add.reduce(mean)) / len(mean)
            m2 = float(np.add.reduce(spread + np.square(mean - middle)))
            found = Moments(len(mean) * _ROW, middle, _ROW * m2)
        whole = self._num * _ROW
        for piece in bad:
            found = found.plus(_of_piece(again(piece * PIECE, min((piece + 1) * PIECE, whole))))
        return found.plus(_of_piece(again(whole, self._n))) if whole < self._n else found


def dot(a: Numbers, b: Numbers) -> float:
    """The inner product of two contiguous vectors, in rows of 8,192 whose products are added up in float64."""
    n = len(a)
    if n <= _ROW:
        return float(np.dot(a, b))
    whole = n // _ROW * _ROW
    rows = np.matmul(a[:whole].reshape(-1, 1, _ROW), b[:whole].reshape(-1, _ROW, 1))
    found = float(sum(rows.ravel().tolist()))
    return found + float(np.dot(a[whole:], b[whole:])) if whole < n else found


def total(values: Numbers) -> float:
    """The sum of a contiguous vector, in rows of 1,024 that are added up in float64."""
    whole = len(values) // _STRIP * _STRIP
    found = float(np.add.reduce(values[whole:]))
    if whole:  # as a product with ones: faster than a sum
        rows = np.matmul(values[:whole].reshape(-1, 1, _STRIP), _ones(values.dtype.str))
        found += float(np.add.reduce(rows.ravel(), dtype=np.float64))
    return found


@lru_cache(maxsize=4)
def _ones(dtype: str) -> Numbers:
    return np.ones((_STRIP, 1), dtype)


def _of_piece(values: Numbers) -> Moments:
    n = len(values)
    mean = total(values) / n
    square = dot(values, values) / n
    if not _SMALLEST_SQUARE[values.itemsize] < square < math.inf:  # NaN too
        return _carefully(values) if values.any() else Moments(n)
    if square - mean * mean > 0.05 * square:
        return Moments(n, mean, n * (square - mean * mean))
    centred = values - values.dtype.type(mean)
    rest = total(centred) / n
    square = dot(centred, centred) / n
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
    if len(values) <= PIECE:
        return _squares_of_piece(values)
    return sum(_squares_of_piece(values[start : start + PIECE]) for start in range(0, len(values), PIECE))


def _squares_of_piece(values: Numbers) -> float:
    square = dot(values, values)
    if _SMALLEST_SQUARE[values.itemsize] * len(values) < square < math.inf:
        return square
    wide = values.astype(np.float64)
    return dot(wide, wide)
