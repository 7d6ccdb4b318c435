"""From whole series to what one chart shows of them: window, pixels, ends of the axes, counts of what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.app.metrics_axes import Ends, Reach, between, widened, x_ends, y_ends
from explorer.charts.tables import dots_table, lines_table, marks_table, view_table
from explorer.reading.blocks import Blocks
from explorer.reading.downsample import envelope, m4, marks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
How = Literal["every point", "first, min, max, last per pixel", "min to max per pixel"]
HOWS: Final[tuple[How, ...]] = ("every point", "first, min, max, last per pixel", "min to max per pixel")

# Rows of lines per chart, which with the tooltip's stay under 4,000 rows and 100 kB.
_MAX_LINE_ROWS: Final = 2_500
_MAX_LINE_BYTES: Final = 58_000
_MAX_MARKS: Final = 300  # of values that are not finite, over all series
# With fewer pixel columns than this, a band from low to high in each shows more than four points of it.
_MIN_M4_COLUMNS: Final = 200
_MAX_COLUMNS: Final = 600
_MAX_DOTS: Final = 400
_MANY: Final = 20_000  # values whose extremes are found faster from blocks
_DOTS_BELOW: Final = 60  # points of a series in the window up to which each one gets a dot


@dataclass(frozen=True, eq=False)
class Curve:
    """One series of a chart, whole.

    Attributes:
        label: what legend and tooltip call it, unique in the chart.
        x: `[n]` ascending; integers or floats.
        y: `[n]`; NaN and infinities are marked, not drawn.
        smooth: `[n]` or None.
        spread: `[n]` half height of the band around `y`, or None.
        count: `[n]` how many runs stand behind each value, or None for a single run.
        blocks: of `y`, when they are known; they make long series fast.
    """

    label: str
    x: npt.NDArray[Any]
    y: Floats
    smooth: Floats | None = None
    spread: Floats | None = None
    count: Ints | None = None
    blocks: Blocks | None = None


@dataclass(frozen=True)
class Frame:
    """What part of the series is drawn and how; `window` is None for all of it; `reach`: see `y_ends`."""

    window: Ends | None = None
    log_x: bool = False
    log_y: bool = False
    reach: Reach = "auto"


class Part(NamedTuple):
    """A series and which of its values are inside the window."""

    curve: Curve
    inside: slice

    def values(self) -> Floats:
        """Return the values inside the window."""
        return self.curve.y[self.inside]


class Vertices(NamedTuple):
    """What is drawn of a series: rows of the vertices of its line, their heights, and a band under each (NaN: none)."""

    row: Ints
    y: Floats
    low: Floats
    high: Floats
    how: How


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a chart shows: its tables (but the tooltip's) and the numbers for its caption.

    `num_points` counts values inside the window, finite or not; `num_outside` those beyond the ends of the y axis;
    `num_off_log` those that a logarithmic axis cannot show.
    """

    tables: dict[str, pa.Table]
    parts: tuple[Part, ...]
    window: Ends
    num_points: int
    how: How
    num_nan: int
    num_inf: int
    num_outside: int
    num_off_log: int


def draw(curves: Sequence[Curve], frame: Frame) -> Drawn:
    """Return what a chart of `curves` shows in `frame`."""
    positive = [_positive_x(curve) for curve in curves] if frame.log_x else list(curves)
    window = x_ends([curve.x for curve in positive], frame.window, frame.log_x)
    wide = window if frame.window is None else widened(window, frame.log_x)
    parts = visible(curves, window, frame.log_x)
    lines, how = _lines(positive, _MAX_LINE_ROWS, wide, frame)
    if lines.nbytes > _MAX_LINE_BYTES:  # numbers that need 64 bits
        lines, how = _lines(positive, _MAX_LINE_ROWS * _MAX_LINE_BYTES // lines.nbytes, wide, frame)
    table, num_nan, num_inf = _marks(parts, window, frame.log_x)
    heights = _heights(parts, frame)
    ends = y_ends(heights, frame.reach, frame.log_y)
    num_points = sum(part.inside.stop - part.inside.start for part in parts)
    # Comparisons leave out NaN by themselves; infinities are marked and counted on their own.
    low, high = np.log10(ends) if frame.log_y else ends
    measured = parts if any(y.size and (y.min() < low or y.max() > high) for y in heights) else ()
    outside = sum(int((y < ends[0]).sum()) + int((y > ends[1]).sum()) for part in measured if (y := part.values()).size)
    not_positive = sum(int((part.values() <= 0).sum()) for part in parts) if frame.log_y else 0
    num_negative_inf = sum(int(np.isneginf(part.values()).sum()) for part in parts) if frame.log_y and num_inf else 0
    return Drawn(
        tables={
            "lines": lines,
            "dots": _dots(parts, frame.log_y),
            "marks": table,
            "view": view_table(window, ends),
        },
        parts=parts,
        window=window,
        num_points=num_points,
        how=how,
        num_nan=num_nan,
        num_inf=num_inf,
        num_outside=outside - num_inf - not_positive + num_negative_inf if measured else 0,
        num_off_log=not_positive - num_negative_inf + sum(c.x.size for c in curves) - sum(c.x.size for c in positive),
    )


def visible(curves: Sequence[Curve], window: Ends, log_x: bool) -> tuple[Part, ...]:
    """Return which values of `curves` are inside the window; on a logarithmic axis, of those above 0."""
    shown = [_positive_x(curve) for curve in curves] if log_x else curves
    return tuple(Part(curve, between(curve.x, *window)) for curve in shown)


def _positive_x(curve: Curve) -> Curve:
    first = int(np.searchsorted(curve.x, 0, side="right"))
    if not first:
        return curve
    rest = {
        name: None if (column := getattr(curve, name)) is None else column[first:]
        for name in ("smooth", "spread", "count")
    }
    return Curve(curve.label, curve.x[first:], curve.y[first:], **rest)


def _vertices(curve: Curve, budget: int, wide: Ends, log: bool) -> Vertices:
    x, y, blocks = curve.x, curve.y, curve.blocks
    inside = between(x, *wide)
    if inside.stop - inside.start + 2 <= budget:
        row = np.arange(max(inside.start - 1, 0), min(inside.stop + 1, x.size))
        return Vertices(row, y[row], *_band(curve, row), HOWS[0])
    if curve.spread is not None or budget // 4 >= _MIN_M4_COLUMNS:
        row = m4(x, y, *wide, min(budget // 4, _MAX_COLUMNS), blocks=blocks, log_x=log)
        return Vertices(row, y[row], *_band(curve, row), HOWS[1])
    columns = envelope(x, y, *wide, min(budget, _MAX_COLUMNS), blocks=blocks, log_x=log)
    row = np.searchsorted(x, columns.x, side="right") - 1
    return Vertices(row, columns.last, columns.low, columns.high, HOWS[2])


def _band(curve: Curve, row: Ints) -> tuple[Floats, Floats]:
    if curve.spread is None:
        nothing = np.full(row.size, np.nan)
        return nothing, nothing
    return curve.y[row] - curve.spread[row], curve.y[row] + curve.spread[row]


def _heights(parts: Sequence[Part], frame: Frame) -> list[Floats]:
    """What the y axis has to hold: values, or both edges of a band."""
    return [_scaled(part, sign, frame) for part in parts for sign in ((0,) if part.curve.spread is None else (-1, 1))]


def _scaled(part: Part, sign: int, frame: Frame) -> Floats:
    """The finite values that the y axis has to hold, as their logarithms on a logarithmic one."""
    curve, inside = part.curve, part.inside
    y = part.values()
    if curve.blocks is not None and y.size > _MANY and not frame.log_y and frame.reach != "middle" and not sign:
        low, high = curve.blocks.extremes(curve.y, np.array([inside.start]), np.array([inside.stop]))
        y = curve.y[np.concatenate([low, high])] if low[0] >= 0 else y[:0]
    elif sign and curve.spread is not None:
        y = y + sign * curve.spread[inside]
    if curve.smooth is not None and y.size:
        smooth = curve.smooth[inside]
        y = np.concatenate([y, [np.fmin.reduce(smooth), np.fmax.reduce(smooth)]])
    y = y[np.isfinite(y)]
    return np.log10(y[y > 0]) if frame.log_y else y


def _lines(curves: Sequence[Curve], max_rows: int, wide: Ends, frame: Frame) -> tuple[pa.Table, How]:
    budget = max(max_rows // max(len(curves), 1), 8)
    picked = [_vertices(curve, budget, wide, frame.log_x) for curve in curves]
    columns = {name: [getattr(one, name) for one in picked] for name in ("y", "low", "high")}
    if any(curve.smooth is not None for curve in curves):
        columns["smooth"] = [
            one.y if curve.smooth is None else curve.smooth[one.row] for curve, one in zip(curves, picked, strict=True)
        ]
    drawable = {name: _drawable(_join(column), frame.log_y) for name, column in columns.items()}
    x = _join([curve.x[one.row].astype(np.float64) for curve, one in zip(curves, picked, strict=True)])
    table = lines_table([curve.label for curve in curves], [one.row.size for one in picked], x, drawable)
    return table, max((one.how for one in picked), key=HOWS.index, default=HOWS[0])


def _dots(parts: Sequence[Part], log_y: bool) -> pa.Table:
    nothing = slice(0, 0)
    chosen = [part.inside if part.inside.stop - part.inside.start <= _DOTS_BELOW else nothing for part in parts]
    if sum(inside.stop - inside.start for inside in chosen) > _MAX_DOTS:
        chosen = [nothing] * len(parts)
    y = [part.curve.y[inside] for part, inside in zip(parts, chosen, strict=True)]
    x = [part.curve.x[inside].astype(np.float64) for part, inside in zip(parts, chosen, strict=True)]
    labels = [part.curve.label for part in parts]
    return dots_table(labels, [one.size for one in y], _join(x), _drawable(_join(y), log_y))


def _marks(parts: Sequence[Part], window: Ends, log: bool) -> tuple[pa.Table, int, int]:
    """The table of marks, one per pixel column and kind, and how many NaN and infinities they stand for."""
    num_px = max(_MAX_MARKS // max(len(parts), 1) // 3, 4)
    x, values, num_nan, num_inf = [], [], 0, 0
    for part in parts:
        curve = part.curve
        found = marks(curve.x, curve.y, *window, num_px, blocks=curve.blocks, log_x=log)
        is_nan = np.isnan(curve.y[found.row])
        num_nan += int(found.num_points[is_nan].sum())
        num_inf += int(found.num_points[~is_nan].sum())
        x.append(curve.x[found.row].astype(np.float64))
        values.append(curve.y[found.row])
    labels = [part.curve.label for part in parts]
    return marks_table(labels, [one.size for one in x], _join(x), _join(values)), num_nan, num_inf


def _join(columns: Sequence[Floats]) -> Floats:
    return np.concatenate(columns) if columns else np.empty(0)


def _drawable(values: Floats, log: bool) -> Floats:
    """Values with NaN, which breaks a line, where the axis has no place for them."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(values) & (values > 0) if log else np.isfinite(values)
    return values if good.all() else np.where(good, values, np.nan)
