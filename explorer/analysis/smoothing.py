"""Smoothing of a series that may have uneven steps and values that are not finite."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

# Weights inside a block are relative to its start: exp(200) times a million values of this size is no overflow.
_MAX_EXPONENT: Final = 200.0
_MAX_VALUE: Final = 1e200


def ema(x: npt.ArrayLike, values: npt.ArrayLike, halflife: float) -> npt.NDArray[np.float64]:
    r"""Return the debiased exponential moving average of a series, by distance in `x` and not by index.

    A value at distance `d` behind has the weight `2 ** (-d / halflife)`, and the weights of all values seen so far are
    divided by their sum, so that the first result is the first value and a constant stays itself:

    .. math:: y_i = \frac{\sum_{j \le i} 2^{-(x_i - x_j) / h} v_j}{\sum_{j \le i} 2^{-(x_i - x_j) / h}}

    This is `Series.ewm(halflife=..., times=...).mean()` of pandas. Values that are not finite have no weight and stay
    as they are in the result.

    Args:
        x: `[n]` positions, ascending; equal ones are allowed.
        values: `[n]` numbers.
        halflife: distance in the unit of `x`, at least 0; 0 returns the values, infinity their running mean.

    Returns:
        `[n]` float64.

    Raises:
        ValueError: lengths differ, `x` descends, or `halflife` is negative or not a number.

    >>> ema([0, 1, 3], [0.0, 1.0, 1.0], halflife=1.0).round(4).tolist()
    [0.0, 0.6667, 0.9091]
    """
    at = np.asarray(x, dtype=np.float64)
    out = np.array(values, dtype=np.float64)
    if at.ndim != 1 or at.shape != out.shape:
        raise ValueError(f"x and values must be one-dimensional and of equal length, got {at.shape} and {out.shape}")
    if not halflife >= 0:
        raise ValueError(f"halflife must be a number of at least 0, got {halflife}")
    finite = np.flatnonzero(np.isfinite(out))
    if halflife == 0 or finite.size == 0:
        return out
    t = at[finite] * (np.log(2.0) / halflife)
    if np.any(t[1:] < t[:-1]):
        raise ValueError("x must be ascending")
    largest = float(np.abs(out[finite]).max())
    size = largest if largest > _MAX_VALUE else 1.0
    v = out[finite] / size
    start, total, weight = 0, 0.0, 0.0
    while start < t.size:
        stop = max(int(np.searchsorted(t, t[start] + _MAX_EXPONENT, side="right")), start + 1)
        inside = t[start:stop] - t[start]
        # The past decays from the last value of the block before to the first of this one.
        fade = np.exp(t[start - 1] - t[start]) if start else 0.0
        grown = np.exp(inside)
        totals = np.cumsum(v[start:stop] * grown) + total * fade
        weights = np.cumsum(grown) + weight * fade
        out[finite[start:stop]] = totals / weights * size
        total, weight = float(totals[-1] / grown[-1]), float(weights[-1] / grown[-1])
        start = stop
    return out


def typical_gap(x: npt.ArrayLike) -> float:
    """Return the median distance between neighbours of ascending `x`; 1.0 when there are fewer than two.

    >>> typical_gap([0, 10, 20, 25])
    10.0
    """
    gaps = np.diff(np.asarray(x, dtype=np.float64))
    gaps = gaps[gaps > 0]
    return float(np.median(gaps)) if gaps.size else 1.0


def halflife_of(weight: float, gap: float) -> float:
    """Return the half-life for which a point one `gap` behind has `weight` times the weight of the newest one.

    So a slider from 0 to 1 means on even steps what it means in other trackers, and the same distance on uneven ones.

    Raises:
        ValueError: `weight` is not in `[0, 1)` or `gap` is not above 0.

    >>> halflife_of(0.5, gap=10.0)
    10.0
    """
    if not 0 <= weight < 1 or not gap > 0:
        raise ValueError(f"weight must be in [0, 1) and gap above 0, got {weight} and {gap}")
    return 0.0 if weight == 0 else gap * float(np.log(0.5) / np.log(weight))
