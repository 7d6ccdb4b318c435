"""Where the extremes of a long series are: built once, they let any window of any size be reduced in milliseconds.

A tree of 64 children a node. A range of rows is then at most 63 single rows at each end, at most 63 blocks of 64 rows
inside those, at most 63 blocks of 4,096 rows inside these, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

BLOCK: Final = 64
# 512 blocks of 64 float64 are 256 kB: the second of the two passes reads them from the cache.
_CHUNK: Final = 512


@dataclass(frozen=True)
class _Level:
    """The lowest and the highest finite value of each block of rows; +Infinity and -Infinity where there is none.

    Which row that is, is found when somebody asks: there are many blocks, and few of them are asked for.
    """

    low: Floats
    high: Floats


@dataclass(frozen=True)
class Blocks:
    """The extremes of every 64, 4,096, 262,144, ... values of a series; only whole blocks are covered.

    Attributes:
        levels: finest first.
        finite: bool[b], whether all values of each block of 64 are finite.
    """

    levels: tuple[_Level, ...]
    finite: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """How many rows the finest blocks cover."""
        return len(self.finite) * BLOCK

    @classmethod
    def of(cls, y: Floats, before: Blocks | None = None) -> Blocks:
        """The blocks of float64[n]. `before`: those of a prefix of the same values, which is then not read again."""
        done = 0 if before is None else len(before)
        if before is not None and len(y) - done < BLOCK:
            return before
        level, finite = _finest(y[done : len(y) // BLOCK * BLOCK])
        if before is not None:
            finite = np.concatenate([before.finite, finite])
            first = before.levels[0]
            level = _Level(np.concatenate([first.low, level.low]), np.concatenate([first.high, level.high]))
        levels = [level]
        while len(levels[-1].low) >= BLOCK:
            levels.append(_coarser(levels[-1]))
        return cls(tuple(levels), finite)

    def extremes(self, y: Floats, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
        """The row of the lowest and of the highest finite value of each range `starts[i]:ends[i]`; -1 where none is.

        Args:
            y: the series that the blocks were built of, or a longer one that begins with it.
            starts: int64[k]; the ranges are not empty.
            ends: int64[k].
        """
        low, high = _Best(len(starts), np.inf), _Best(len(starts), -np.inf)
        for first, count in _ends_and_rest(starts, ends, whole=len(self.levels[0].low)):
            at = np.flatnonzero(count)
            if len(at):
                rows = _padded(first[at], count[at])
                values = y[rows]
                finite = np.isfinite(values)
                is_finite = bool(finite.all())
                low.take(at, rows, values if is_finite else np.where(finite, values, np.inf), depth=0)
                high.take(at, rows, values if is_finite else np.where(finite, values, -np.inf), depth=0)
        inner, outer = _inside(starts, ends, len(self.levels[0].low))
        for depth, level in enumerate(self.levels, 1):
            whole = len(self.levels[depth].low) if depth < len(self.levels) else 0
            for first, count in _ends_and_rest(inner, outer, whole=whole):
                at = np.flatnonzero(count)
                if len(at):
                    blocks = _padded(first[at], count[at])
                    low.take(at, blocks, level.low[blocks], depth=depth)
                    high.take(at, blocks, level.high[blocks], depth=depth)
            inner, outer = _inside(inner, outer, whole)
        return (
            low.rows([y, *(level.low for level in self.levels)]),
            high.rows([y, *(level.high for level in self.levels)]),
        )

    def suspect_rows(self, first: int, end: int) -> Ints | None:
        """The rows in `first:end` that may not be finite, ascending; None when there is no use in picking them."""
        inner, outer = -(-first // BLOCK), min(end // BLOCK, len(self.finite))
        if inner >= outer:
            return None
        suspect = np.flatnonzero(~self.finite[inner:outer]) + inner
        if len(suspect) * 4 > outer - inner:
            return None
        rows = (suspect[:, None] * BLOCK + np.arange(BLOCK)).ravel()
        return np.concatenate([np.arange(first, inner * BLOCK), rows, np.arange(outer * BLOCK, end)])


class _Best:
    """The best value so far of each range, and the row or block it was found in."""

    def __init__(self, num_ranges: int, nothing: float) -> None:
        """`nothing`: +Infinity to look for the lowest value, -Infinity for the highest."""
        self._pick = np.argmin if nothing > 0 else np.argmax
        self._is_better: np.ufunc = np.less if nothing > 0 else np.greater
        self._value = np.full(num_ranges, nothing)
        self._block = np.full(num_ranges, -1, np.int64)  # of BLOCK ** depth rows
        self._depth = np.zeros(num_ranges, np.int64)

    def take(self, at: Ints, blocks: Ints, values: Floats, *, depth: int) -> None:
        """Of some ranges `at`, blocks and their values: int64[k, w] and float64[k, w], in ascending order of rows."""
        column = self._pick(values, axis=1)
        each = np.arange(len(at))
        value, block = values[each, column], blocks[each, column]
        # On a tie the earlier row, whatever the order in which the pieces come: they do not overlap.
        before, start = self._value[at], self._block[at] * BLOCK ** self._depth[at]
        better = np.isfinite(value) & (
            self._is_better(value, before) | ((value == before) & (block * BLOCK**depth < start))
        )
        at = at[better]
        self._value[at], self._block[at], self._depth[at] = value[better], block[better], depth

    def rows(self, values: list[Floats]) -> Ints:
        """The first row of each range that has its best value, -1 where there is none; int64[num_ranges].

        Args:
            values: of single rows, of the blocks of 64 rows, and so on.
        """
        for depth in range(len(values) - 1, 0, -1):
            at = np.flatnonzero(self._depth == depth)
            inside = self._block[at, None] * BLOCK + np.arange(BLOCK)
            found = (values[depth - 1][inside] == self._value[at, None]).argmax(axis=1)
            self._block[at], self._depth[at] = inside[np.arange(len(at)), found], depth - 1
        return self._block


def _finest(y: Floats) -> tuple[_Level, npt.NDArray[np.bool_]]:
    """Of float64[64 * b]: the level, and which blocks are finite."""
    low, high = np.empty(len(y) // BLOCK), np.empty(len(y) // BLOCK)
    starts = np.arange(0, min(len(y), _CHUNK * BLOCK), BLOCK)
    for at in range(0, len(low), _CHUNK):
        part = y[at * BLOCK : (at + _CHUNK) * BLOCK]
        np.minimum.reduceat(part, starts[: len(part) // BLOCK], out=low[at : at + _CHUNK])
        np.maximum.reduceat(part, starts[: len(part) // BLOCK], out=high[at : at + _CHUNK])
    finite = np.isfinite(low) & np.isfinite(high)  # both are NaN where any value is
    bad = np.flatnonzero(~finite)
    rows = y.reshape(-1, BLOCK)
    for some in np.array_split(bad, max(1, len(bad) // _CHUNK)) if len(bad) else ():
        values, known = rows[some], np.isfinite(rows[some])
        low[some] = np.where(known, values, np.inf).min(axis=1)
        high[some] = np.where(known, values, -np.inf).max(axis=1)
    return _Level(low, high), finite


def _coarser(level: _Level) -> _Level:
    num = len(level.low) // BLOCK * BLOCK
    return _Level(level.low[:num].reshape(-1, BLOCK).min(axis=1), level.high[:num].reshape(-1, BLOCK).max(axis=1))


def _inside(starts: Ints, ends: Ints, whole: int) -> tuple[Ints, Ints]:
    """The whole blocks inside each range, of which there are `whole` in all; empty ranges as (0, 0)."""
    inner, outer = -(-starts // BLOCK), np.minimum(ends // BLOCK, whole)
    return np.where(inner < outer, inner, 0), np.where(inner < outer, outer, 0)


def _ends_and_rest(starts: Ints, ends: Ints, whole: int) -> Iterator[tuple[Ints, Ints]]:
    """What of each range no whole block covers: (first, count) of its head, then of its tail."""
    inner, outer = _inside(starts, ends, whole)
    some = outer > inner
    yield starts, np.where(some, inner * BLOCK, ends) - starts
    yield outer * BLOCK, np.where(some, ends - outer * BLOCK, 0)


def _padded(first: Ints, count: Ints) -> Ints:
    """`first[i], first[i] + 1, ...` as row i, its last number repeated to the length of the longest; int64[k, w]."""
    padded: Ints = np.minimum(first[:, None] + np.arange(int(count.max())), (first + count - 1)[:, None])
    return padded
