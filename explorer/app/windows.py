"""The part of an axis that charts show, as a browser or an address tells it."""

from __future__ import annotations

import math

Window = tuple[float, float]


def as_window(low: object, high: object) -> Window | None:
    """Return the ends, ascending; None unless both are finite and far enough apart for an axis to show.

    >>> as_window(20, 10), as_window("0", 10), as_window(5, 5)
    ((10.0, 20.0), None, None)
    """
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return None
    low, high = sorted((float(low), float(high)))
    if not (math.isfinite(low) and math.isfinite(high)) or max(abs(low), abs(high)) > 1e15:
        return None
    return (low, high) if high - low > max(abs(low), abs(high), 1e-9) * 1e-12 else None
