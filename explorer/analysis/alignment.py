"""Several series on one axis: the mean over runs whose steps need not be the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RULE: Final = "each run linear between its own steps, none beyond its ends"


class GroupMean(NamedTuple):
    """A mean over members: all arrays are `[n]`, `x` ascends without repeats.

    `std` is the sample standard deviation (`ddof=1`), 0 where `count` is 1; `num` is how many members are there.
    """

    x: Floats
    mean: Floats
    std: Floats
    num: npt.NDArray[np.int64]


def group_mean(members: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]) -> GroupMean:
    """Return mean and spread of `members` at every x that any of them has.

    A member counts at each x between its first and its last finite value: with its own value where it has one (the
    last, where it has several), on the straight line between its neighbours elsewhere. Nothing is extrapolated, so the
    count falls where a run has ended.

    Args:
        members: pairs of `x` (`[n]`, ascending) and values (`[n]`; those that are not finite are left out).

    >>> group_mean([([0, 2], [0.0, 2.0]), ([0, 1], [2.0, 3.0])]).mean.tolist()
    [1.0, 2.0, 2.0]
    """
    clean = [series for x, y in members if (series := _finite_unique(x, y))[0].size]
    if not clean:
        return GroupMean(np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64))
    grid = clean[0][0]
    if not all(np.array_equal(grid, x) for x, _ in clean[1:]):
        grid = np.unique(np.concatenate([x for x, _ in clean]))
    count = np.zeros(grid.size, np.int64)
    mean = np.zeros(grid.size)
    squares = np.zeros(grid.size)  # sum of squared distances from the mean (Welford), exact for values far from 0
    for x, y in clean:
        first, last = np.searchsorted(grid, [x[0], x[-1]])
        inside = slice(int(first), int(last) + 1)
        with np.errstate(over="ignore", invalid="ignore"):  # a spread beyond double precision is infinite
            value = y if x.size == grid.size else np.interp(grid[inside], x, y)
            count[inside] += 1
            step = value - mean[inside]
            mean[inside] += step / count[inside]
            squares[inside] += step * (value - mean[inside])
    return GroupMean(grid, mean, np.sqrt(squares / np.maximum(count - 1, 1)), count)


def _finite_unique(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Drop values that are not finite, and all but the last of those at one x."""
    at, value = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(value) & np.isfinite(at)
    if not keep.all():
        at, value = at[keep], value[keep]
    if at.size > 1:
        last = np.append(at[1:] != at[:-1], True)
        if not last.all():
            at, value = at[last], value[last]
    return at, value
