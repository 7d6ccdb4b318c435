"""An axis of values: linear, symmetric-logarithmic, or by quantiles, all as places on a line from 0 to the last bin.

What a chart draws are places, and its ticks are data. So one specification serves all three kinds of axis, and another
range of values is no other chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow

Scale = Literal["linear", "symlog", "quantile"]
Floats = npt.NDArray[np.float64]

_NUM_TICKS: Final = 6
_NICE: Final = (1.0, 2.0, 5.0, 10.0)
_SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# Room for labels left of a plot, the same in all charts, so that plots above each other line up.
AXIS_PX: Final = 74
# Two labels may not come nearer than this share of the axis.
_APART: Final = 0.055


@dataclass(frozen=True, eq=False)
class ValueAxis:
    """Where values stand.

    Attributes:
        edges: float64[num + 1], ascending; the value at place 0, 1, ..., num.
        scale: what the distances between edges follow; it decides where ticks stand.
    """

    edges: Floats
    scale: Scale = "linear"

    @property
    def end(self) -> float:
        """The place of the largest value; 0 is that of the smallest."""
        return float(len(self.edges) - 1)

    def place(self, values: npt.ArrayLike) -> Floats:
        """Return the places of values; NaN stays NaN, and what is beyond an end stands at that end."""
        at = np.asarray(values, dtype=np.float64)
        found: Floats = np.interp(at, self.edges, np.arange(len(self.edges), dtype=np.float64))
        return np.where(np.isnan(at), np.nan, found)

    def ticks(self, end: float | None = None) -> list[tuple[float, str]]:
        """Return (place, label) of the ticks, ascending, far enough apart to be read.

        Args:
            end: the place of the largest value, where a chart joins bins; None is that of this axis.
        """
        scale = 1.0 if end is None else end / self.end
        return [(place * scale, label) for place, label in self._ticks()]

    def _ticks(self) -> list[tuple[float, str]]:
        if self.scale == "quantile":
            values = [float(self.edges[round(share * self.end)]) for share in _SHARES]
            labels = [f"{number_text(v)}  {100 * share:.0f} %" for v, share in zip(values, _SHARES, strict=True)]
            places = [share * self.end for share in _SHARES]
            return list(zip(places, labels, strict=True))
        low, high = float(self.edges[0]), float(self.edges[-1])
        values = linear_ticks(low, high) if self.scale == "linear" else symlog_ticks(low, high)
        found = [(float(self.place(value)), number_text(value)) for value in values]
        kept: list[tuple[float, str]] = []
        # Zero first: it is the one value that is looked for on every axis.
        for place, label in sorted(found, key=lambda tick: (tick[1] != "0", -abs(tick[0] - self.end / 2))):
            if all(abs(place - other) >= _APART * self.end for other, _ in kept):
                kept.append((place, label))
        return sorted(kept)

    def ticks_table(self) -> pa.Table:
        """Return the table `ticks` of a chart: at, label."""
        return ticks_table(self.ticks())


def ticks_table(ticks: Sequence[tuple[float, str]]) -> pa.Table:
    """Return the table `ticks` from (place, label)."""
    return arrow.table(
        {"at": arrow.numbers([at for at, _ in ticks]), "label": arrow.texts([text for _, text in ticks])}
    )


def linear_ticks(low: float, high: float, num: int = _NUM_TICKS) -> list[float]:
    """Return round numbers inside `low` to `high`, evenly spaced, about `num` of them.

    >>> linear_ticks(-0.31, 0.42)
    [-0.2, 0.0, 0.2, 0.4]
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    rough = span / num
    size = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 0.0
    if size == 0:  # below the smallest numbers that can be divided
        return [low, high]
    gap = next((nice * size for nice in _NICE if nice * size >= rough), 10 * size)
    first, last = math.ceil(low / gap - 1e-9), math.floor(high / gap + 1e-9)
    digits = max(0, -math.floor(math.log10(gap)))
    return [round(k * gap, digits) + 0.0 for k in range(first, last + 1)]


def symlog_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten of either sign inside `low` to `high`, and 0 when it is inside, ascending."""
    found = [0.0] if low <= 0 <= high else []
    for sign, end in ((1.0, high), (-1.0, -low)):
        near = max(sign * (low if sign > 0 else high), 0.0)
        if end > 0 and math.isfinite(end):
            top = math.floor(math.log10(end) + 1e-9)
            found += [sign * 10.0**power for power in range(max(top - 8, -45), top + 1) if 10.0**power >= near]
    return sorted(found)


def number_text(value: float, digits: int = 3) -> str:
    """Return a number in a few characters.

    >>> [number_text(v) for v in (0.0, -0.0251, 12345.0, 1e-7, 123456789.0, float("nan"))]
    ['0', '−0.0251', '12,345', '1e−7', '1.23e8', 'NaN']
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "−Inf"
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-4 <= size < 1e6:
        text = f"{value:,.0f}" if size >= 10**digits - 0.5 else f"{value:.{digits}g}"
    else:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(power)}"
    return text.replace("-", "−")


def value_channel(channel: Literal["x", "y"], field: str, title: str | None = None) -> dict[str, Any]:
    """Return the channel of values whose ends are in the table `view` and whose ticks are in the table `ticks`."""
    ends = [
        {"expr": f"length(data('view')) ? data('view')[0].{channel}_{end} : {default}"}
        for end, default in (("low", 0), ("high", 1))
    ]
    at = "pluck(data('ticks'), 'at')"
    axis = {
        "title": title,
        "values": {"expr": at},
        # A lookup of data by place: text from files never becomes a part of an expression.
        "labelExpr": f"data('ticks')[max(0, indexof({at}, datum.value))].label",
        "titlePadding": 4,
        "labelOverlap": "greedy",
        **({"minExtent": AXIS_PX, "grid": True} if channel == "y" else {"labelFlush": True, "grid": False}),
    }
    scale = {"type": "linear", "domain": ends, "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": scale}
