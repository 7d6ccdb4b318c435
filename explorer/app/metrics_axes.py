"""Where the axes of a curve chart end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]
Ends = tuple[float, float]
Reach = Literal["auto", "all", "middle"]

# Share of the window that is sent on either side of it, so that moving the chart shows data at once.
_MARGIN: Final = 0.25
_AIR: Final = 0.04
_MAX_SAMPLE: Final = 100_000
_EXPLODED: Final = 100.0


def between(x: Numbers, low: float, high: float) -> slice:
    """Return the rows of ascending `x` from `low` to `high`, both included."""
    if x.dtype.kind == "i":  # keys of another type would make numpy convert all of x
        low, high = int(np.ceil(low)), int(np.floor(high))
    return slice(int(np.searchsorted(x, low, side="left")), int(np.searchsorted(x, high, side="right")))


def x_ends(positions: Iterable[Numbers], window: Ends | None, log: bool) -> Ends:
    """Return the ends of the x axis: the window, or all positions (each ascending, above 0 where `log`)."""
    ends = [(float(x[0]), float(x[-1])) for x in positions if x.size]
    if not ends:
        ends = [(1.0, 10.0) if log else (0.0, 1.0)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if window is not None and not (log and window[1] <= 0):
        # A link may name a window that a logarithmic axis cannot show.
        return (min(low, window[1] / 10), window[1]) if log and window[0] <= 0 else window
    if low == high:
        return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return low, high


def widened(window: Ends, log: bool) -> Ends:
    """Return the window with a quarter of itself on either side."""
    low, high = window
    if log:
        factor = (high / low) ** _MARGIN
        return low / factor, high * factor
    return low - (high - low) * _MARGIN, high + (high - low) * _MARGIN


def y_ends(values: Sequence[Floats], reach: Reach, log: bool) -> Ends:
    """Return the ends of the y axis.

    Args:
        values: what it has to hold, a series each, finite; logarithms to base 10 where `log`.
        reach: "all" of it; "auto", all but series that span more than 100 times what most of them do (a run that
            diverged would make a flat line of every other); "middle", no further from the middle 90 % than half their
            height.
        log: whether the axis is logarithmic.
    """
    pool = [one for one in values if one.size]
    if reach == "auto" and not log:
        pool = _without_exploded(pool)
    if not pool:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(float(one.min()) for one in pool), max(float(one.max()) for one in pool)
    if reach == "middle":
        # Every k-th value of long series: their 5 % and 95 % points are near enough to those of all.
        sample = np.concatenate([one[:: one.size // _MAX_SAMPLE + 1] for one in pool])
        bottom, top = np.quantile(sample, [0.05, 0.95])
        beyond = (top - bottom) * 0.5
        if beyond > 0:
            low, high = max(low, float(bottom - beyond)), min(high, float(top + beyond))
    air = (high - low) * _AIR or (0.3 if log else abs(high) * 0.05 or 0.5)
    # Ends that double precision cannot hold draw nothing at all.
    lowest, highest = (-320.0, 308.0) if log else (-1.7e308, 1.7e308)
    low, high = max(low - air, lowest), min(high + air, highest)
    if log:
        return 10.0**low, 10.0 ** (high if high > low else low + 1)
    return low, high


def _without_exploded(pool: Sequence[Floats]) -> list[Floats]:
    """The series but those that span over 100 times the (lower) median span; all when the median span is 0."""
    with np.errstate(over="ignore"):
        spans = [float(one.max()) - float(one.min()) for one in pool]
    typical = sorted(spans)[(len(spans) - 1) // 2] if spans else 0.0
    limit = typical * _EXPLODED
    return [one for one, span in zip(pool, spans, strict=True) if span <= limit] if limit > 0 else list(pool)
