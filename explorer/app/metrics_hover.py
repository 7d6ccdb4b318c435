"""What the tooltip of a curve chart says: the values of all series in each strip of the plot, as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.app.metrics_tables import Curve, Drawn, Part
from explorer.charts.look import MAX_HOVER, XKind
from explorer.charts.tables import hover_table
from explorer.reading.downsample import column_edges

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MAX_STRIPS: Final = 200
_MIN_STRIPS: Final = 60
_MANY: Final = 20_000  # values whose extremes are found faster from blocks
# Of the texts of one chart, which with the lines stay under 100 kB.
_MAX_BYTES: Final = 40_000
_NOTHING: Final = "–"
_MAX_MS: Final = 6e13  # about the years 70 to 3870


def hover(drawn: Drawn, kind: XKind, log_x: bool) -> pa.Table:
    """Return the table `hover`: one strip for each x while they are few, else at most 200 strips of equal width.

    A strip tells each series' last value in it and, where it holds several, their range; a series without a value there
    is told with the value before, and where that was; one that has ended or not begun, with a dash.
    """
    shown = drawn.parts[:MAX_HOVER]
    long = any(part.curve.smooth is not None or part.curve.spread is not None for part in shown)
    room = _MAX_BYTES // (60 + len(shown) * (48 if long else 32))
    count = min(max(room, _MIN_STRIPS), _MAX_STRIPS)
    edges = _between_positions(drawn, count, log_x)
    if edges is None:
        edges = (np.geomspace if log_x else np.linspace)(*drawn.window, count + 1)
        bounds = [_pairs(column_edges(part.curve.x, *drawn.window, count, log_x=log_x)) for part in drawn.parts]
    else:
        bounds = [_pairs(_cuts(part, edges)) for part in drawn.parts]
    at = _where(drawn.parts, bounds, edges, kind)
    texts = [_texts(part.curve, *bound, kind) for part, bound in zip(shown, bounds, strict=False)]
    hidden = len(drawn.parts) - len(shown)
    return hover_table(edges, at, texts, f"{hidden} more" if hidden else "")


def _between_positions(drawn: Drawn, most: int, log_x: bool) -> Floats | None:
    """The edges of strips that hold one position each, or None when there are more positions than strips."""
    inside = [part.curve.x[part.inside] for part in drawn.parts]
    if any(x.size > most for x in inside):
        return None
    at = np.unique(np.concatenate([[], *inside]).astype(np.float64))
    if not 1 <= at.size <= most:
        return None
    between = np.sqrt(at[1:] * at[:-1]) if log_x else (at[1:] + at[:-1]) / 2
    low, high = drawn.window
    return np.concatenate([[low], between, [high]])


def _cuts(part: Part, edges: Floats) -> Ints:
    x = part.curve.x[part.inside].astype(np.float64)
    rows = np.searchsorted(x, edges)
    rows[-1] = x.size
    cuts: Ints = rows.astype(np.int64) + part.inside.start
    return cuts


def _pairs(cuts: Ints) -> tuple[Ints, Ints]:
    """The first row and the end row of each strip."""
    return cuts[:-1], cuts[1:]


def _where(parts: Sequence[Part], bounds: Sequence[tuple[Ints, Ints]], edges: Floats, kind: XKind) -> list[str]:
    """The x of the values in each strip, first to last; of the strip itself where it holds none."""
    count = edges.size - 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for part, (first, end) in zip(parts, bounds, strict=True):
        used = first < end
        low[used] = np.minimum(low[used], part.curve.x[first[used]])
        high[used] = np.maximum(high[used], part.curve.x[end[used] - 1])
    empty = low > high
    low[empty] = high[empty] = ((edges[1:] + edges[:-1]) / 2)[empty]
    text = position_text(kind)
    return [text(a) if a == b else f"{text(a)} to {text(b)}" for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _texts(curve: Curve, first: Ints, end: Ints, kind: XKind) -> list[str]:
    x = curve.x
    starts, size = first.tolist(), x.size
    used = first < end
    low, high = _ranges(curve, first[used], end[used])
    ranges = iter(zip(low.tolist(), high.tolist(), strict=True))
    text = position_text(kind)
    out = []
    for begin, stop in zip(starts, end.tolist(), strict=True):
        if begin < stop:
            bottom, top = next(ranges)
            out.append(_value(curve, stop - 1) + (f"  ({number(bottom)} to {number(top)})" if bottom < top else ""))
        elif 0 < begin < size:
            out.append(f"{_value(curve, begin - 1)}  (at {text(float(x[begin - 1]))})")
        else:
            out.append(_NOTHING)
    return out


def _ranges(curve: Curve, first: Ints, end: Ints) -> tuple[Floats, Floats]:
    """The smallest and largest finite value of each range; ranges are not empty and follow each other."""
    if first.size == 0:
        return np.empty(0), np.empty(0)
    y = curve.y
    if curve.blocks is not None and end[-1] - first[0] > _MANY:
        low, high = curve.blocks.extremes(y, first, end)
        return np.where(low < 0, np.nan, y[low]), np.where(high < 0, np.nan, y[high])
    part = y[first[0] : end[-1]]
    part = np.where(np.isfinite(part), part, np.nan)
    return np.fmin.reduceat(part, first - first[0]), np.fmax.reduceat(part, first - first[0])


def _value(curve: Curve, row: int) -> str:
    raw = number(float(curve.y[row]))
    if curve.spread is not None and curve.count is not None:
        return f"{raw} ± {number(float(curve.spread[row]))}  (n = {int(curve.count[row])})"
    return raw if curve.smooth is None else f"{number(float(curve.smooth[row]))}  raw {raw}"


def number(value: float) -> str:
    """Return a value with five digits that count.

    >>> number(0.000123456), number(12345.678), number(2e9), number(float("-inf"))
    ('0.00012346', '12,346', '2e+09', '-Inf')
    """
    if math.isfinite(value):
        return f"{value:,.5g}" if 1e-4 <= abs(value) < 99999.5 or value == 0 else f"{value:.5g}"
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"


def position_text(kind: XKind) -> Callable[[float], str]:
    """Return how a position on the x axis is written."""
    return {"whole": _whole, "utc": _utc, "number": _number}[kind]


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _utc(value: float) -> str:
    if abs(value) > _MAX_MS:  # a clock that was not set
        return _number(value)
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=value)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
