"""What is unusual in the history of a distance: drift that no fixed limit can tell."""

from __future__ import annotations

import math
import threading
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

WINDOW: Final = 50
"""How many steps are the history of one."""


class HistoryAlarm(NamedTuple):
    """What is unusual in the history of a distance.

    Attributes:
        z: robust z-score of each value against those before it, in the shape of the distances; infinite where those
            are 0 and it is not, NaN where there are too few of them.
        alarm: where `z` and the distance are both above their limits.
    """

    z: Floats
    alarm: Booleans


def history_alarm(
    distance: npt.ArrayLike,
    *,
    window: int = WINDOW,
    least_points: int = 20,
    z_above: float = 6.0,
    distance_above: float = 0.1,
    resets: npt.ArrayLike = (),
) -> HistoryAlarm:
    """Compare each distance to the previous row with the `window` before it: `(d - median) / (1.4826 MAD)`.

    The divisor is at least 1 % of the median.
    A distribution of weights drifts in every healthy training, so no fixed limit tells a fault; a jump that is unusual
    for that layer does.

    Args:
        distance: `[n]` distances of one tensor over its steps, or `[t, n]` of several; NaN is left out.
        window: how many values before each one are its history.
        least_points: no score with fewer values than that.
        z_above: an alarm needs a larger score,
        distance_above: and a larger distance.
        resets: positions from 0 to n - 1 where history begins anew, such as a change of the learning rate's schedule.

    Raises:
        ValueError: window or least_points are not at least 1, or a reset is out of range.

    >>> history_alarm([0.01, 0.02] * 12 + [0.5]).alarm.nonzero()[0].tolist()
    [24]
    """
    values = np.asarray(distance, np.float64)
    begins = np.asarray(resets, np.int64)
    num = values.shape[-1]
    if window < 1 or least_points < 1:
        raise ValueError(f"window and least_points are at least 1, got {window} and {least_points}")
    if begins.size and (begins.min() < 0 or begins.max() >= num):
        raise ValueError(f"resets are positions from 0 to {num - 1}, got {begins.tolist()}")
    flat = values.reshape(math.prod(values.shape[:-1]), num)
    start = np.zeros(num, np.int64)
    start[begins] = begins
    start = np.maximum.accumulate(start)
    before = np.arange(num)[:, None] + np.arange(-window, 0)
    outside = before < start[:, None]
    before = np.maximum(before, 0)
    z = np.full(flat.shape, np.nan)
    for series, score in zip(flat, z, strict=True):
        past = np.where(outside | ~np.isfinite(series)[before], np.nan, series[before])
        count = np.count_nonzero(np.isfinite(past), axis=1)
        enough = np.flatnonzero((count >= least_points) & np.isfinite(series))
        past, count = past[enough], count[enough]
        middle = _median_of_finite(past, count)
        deviation = 1.4826 * _median_of_finite(np.abs(past - middle[:, None]), count)
        spread = np.maximum(deviation, 0.01 * middle)  # else values that are mostly equal make any other an alarm
        excess = series[enough] - middle
        with np.errstate(divide="ignore", invalid="ignore"):
            score[enough] = np.where(excess == 0, 0.0, excess / spread)
    scores: Floats = z.reshape(values.shape)
    return HistoryAlarm(scores, (scores > z_above) & (values > distance_above))


class GrowingAlarm:
    """What is unusual in distances that grow by columns; what was known of earlier ones is kept. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._distance = np.empty((0, 0))
        self._found = HistoryAlarm(np.empty((0, 0)), np.empty((0, 0), bool))

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return sum(part.nbytes for part in (self._distance, *self._found))

    def alarm(self, distance: Floats) -> HistoryAlarm:
        """Return the same as `history_alarm` of `[t, n]` distances; only new columns are scored."""
        with self._lock:
            same = self._num_same(distance)
            if same:
                # The first new column has all of its history there.
                start = max(same - WINDOW, 0)
                new = history_alarm(distance[:, start:])
                z, alarm = (
                    np.concatenate([old[:, :same], now[:, same - start :]], axis=1)
                    for old, now in zip(self._found, new, strict=True)
                )
                self._found = HistoryAlarm(z, alarm)
            else:
                self._found = history_alarm(distance)
            self._distance = distance
            return self._found

    def _num_same(self, distance: Floats) -> int:
        """How many leading columns are as they were."""
        before = self._distance
        if len(before) != len(distance):
            return 0
        num = min(before.shape[1], distance.shape[1])
        one, other = before[:, :num], distance[:, :num]
        differs = ((one != other) & ~(np.isnan(one) & np.isnan(other))).any(axis=0)
        return int(differs.argmax()) if differs.any() else num


def _median_of_finite(values: Floats, count: Ints) -> Floats:
    """Median of each row's `count` finite values; infinite ones must not be there."""
    ordered = np.sort(values, axis=1)  # NaN last
    row = np.arange(len(values))
    middle: Floats = (ordered[row, (count - 1) // 2] + ordered[row, count // 2]) / 2
    return middle
