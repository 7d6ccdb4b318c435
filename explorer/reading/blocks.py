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
    """For each block of rows, the row and the value of its lowest and of its highest finite value.

    A block without any has row -1 and the values +Infinity and -Infinity.
    """

    low_row: Ints
    low: Floats
    high_row: Ints
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
        level, finite = _finest(y[done : len(y) // BLOCK * BLOCK].reshape(-1, BLOCK), done)
        if before is not None:
            finite = np.concatenate([before.finite, finite])
            level = _Level(
                *(np.concatenate(pair) for pair in zip(_arrays(before.levels[0]), _arrays(level), strict=True))
            )
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
        best = _Best(len(starts))
        for first, count in _ends_and_rest(starts, ends, whole=len(self.levels[0].low)):
            best.take_rows(y, first, count)
        inner, outer = _inside(starts, ends, len(self.levels[0].low))
        for depth, level in enumerate(self.levels):
            whole = len(self.levels[depth + 1].low) if depth + 1 < len(self.levels) else 0
            for first, count in _ends_and_rest(inner, outer, whole=whole):
                best.take_blocks(level, first, count)
            inner, outer = _inside(inner, outer, whole)
        return best.low_row, best.high_row

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
    """The best rows so far of each range."""

    def __init__(self, num_ranges: int) -> None:
        self.low_row = np.full(num_ranges, -1, np.int64)
        self.high_row = np.full(num_ranges, -1, np.int64)
        self._low = np.full(num_ranges, np.inf)
        self._high = np.full(num_ranges, -np.inf)

    def take_rows(self, y: Floats, first: Ints, count: Ints) -> None:
        """Of each range, `count` rows from `first` on."""
        at = np.flatnonzero(count)
        if len(at):
            rows = _padded(first[at], count[at])
            values = y[rows]
            finite = np.isfinite(values)
            for_low, for_high = values, values
            if not finite.all():
                for_low, for_high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
            self._keep(at, (rows, for_low), (rows, for_high))

    def take_blocks(self, level: _Level, first: Ints, count: Ints) -> None:
        """Of each range, `count` blocks from `first` on."""
        at = np.flatnonzero(count)
        if len(at):
            blocks = _padded(first[at], count[at])
            self._keep(at, (level.low_row, level.low[blocks], blocks), (level.high_row, level.high[blocks], blocks))

    def _keep(self, at: Ints, low: tuple[Any, ...], high: tuple[Any, ...]) -> None:
        each = np.arange(len(at))
        for (rows, values, *blocks), best, best_row, pick in (
            (low, self._low, self.low_row, np.argmin),
            (high, self._high, self.high_row, np.argmax),
        ):
            column = pick(values, axis=1)
            value = values[each, column]
            row = rows[blocks[0][each, column]] if blocks else rows[each, column]
            # On a tie the earlier row, whatever the order in which the pieces come.
            better = np.isfinite(value) & (
                (value < best[at] if pick is np.argmin else value > best[at])
                | ((value == best[at]) & (row < best_row[at]))
            )
            best[at[better]], best_row[at[better]] = value[better], row[better]


def _finest(rows: npt.NDArray[np.float64], offset: int) -> tuple[_Level, npt.NDArray[np.bool_]]:
    """Of float64[b, 64]: the level, and which blocks are finite."""
    num = len(rows)
    low, high = np.empty(num, np.int64), np.empty(num, np.int64)
    for at in range(0, num, _CHUNK):
        rows[at : at + _CHUNK].argmin(axis=1, out=low[at : at + _CHUNK])
        rows[at : at + _CHUNK].argmax(axis=1, out=high[at : at + _CHUNK])
    each = np.arange(num)
    low_value, high_value = rows[each, low], rows[each, high]
    finite = np.isfinite(low_value) & np.isfinite(high_value)  # both find a NaN before anything else
    bad = np.flatnonzero(~finite)
    for part in np.array_split(bad, max(1, len(bad) // _CHUNK)) if len(bad) else ():
        values, known = rows[part], np.isfinite(rows[part])
        for pick, nothing, at_row, value in (
            (np.argmin, np.inf, low, low_value),
            (np.argmax, -np.inf, high, high_value),
        ):
            kept = np.where(known, values, nothing)
            column = pick(kept, axis=1)
            value[part] = kept[np.arange(len(part)), column]
            at_row[part] = column
    starts = each * BLOCK + offset
    low, high = low + starts, high + starts
    low[low_value == np.inf], high[high_value == -np.inf] = -1, -1
    return _Level(low, low_value, high, high_value), finite


def _coarser(level: _Level) -> _Level:
    num = len(level.low) // BLOCK
    each = np.arange(num)
    low, high = (values[: num * BLOCK].reshape(num, BLOCK) for values in (level.low, level.high))
    at_low, at_high = low.argmin(axis=1), high.argmax(axis=1)
    return _Level(
        level.low_row[each * BLOCK + at_low],
        low[each, at_low],
        level.high_row[each * BLOCK + at_high],
        high[each, at_high],
    )


def _arrays(level: _Level) -> tuple[Numbers, ...]:
    return (level.low_row, level.low, level.high_row, level.high)


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
