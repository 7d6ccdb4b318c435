"""The tables that `explorer.charts.distributions` draws, made from arrays of numbers.

`y` of a fan, `x` of ridges and slices are places on a `ValueAxis`; shares are of a sample's finite values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow
from explorer.charts.distributions import KINDS, MAX_RIDGES, PERCENTS
from explorer.charts.value_axis import ValueAxis, number_text

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_FAN_ROWS: Final = 1_000
MAX_DOTS: Final = 60
MAX_COUNT_CELLS: Final = 400
_HOVER_BARS: Final = 100
_RIDGE_HEIGHT: Final = 2.6  # of the highest ridge, in distances between ridges


@dataclass(frozen=True, eq=False)
class Layer:
    """One outline of a slice.

    Attributes:
        series: the label that gives the colour.
        when: `now` or `then`.
        shares: float64[bars], share of the finite values in each bar, exact zeros left out.
        zero_share: share of the finite values that are exactly zero; a line of its own where it is not nothing.
        constant: the one value that all finite values are equal to, None when they differ.
        is_drawn: false for one that only keeps its column of the tooltip.
    """

    series: str
    when: str
    shares: Floats
    zero_share: float = 0.0
    constant: float | None = None
    is_drawn: bool = True


def view_table(x: tuple[float, float], y: tuple[float, float]) -> pa.Table:
    """Return `view`, the ends of both axes."""
    ends = {"x_low": x[0], "x_high": x[1], "y_low": y[0], "y_high": y[1]}
    return arrow.table({name: arrow.numbers([end]) for name, end in ends.items()})


def fan_tables(
    step: Ints, quantiles: Floats, least: Floats, most: Floats, axis: ValueAxis, series: str
) -> dict[str, pa.Table]:
    """Return `fan` and `dots`.

    Of more samples than 1,000, neighbours share a row that reaches from the lowest to the highest of each quantile, and
    has the middle of their medians: nothing that sticks out is lost.

    Args:
        step: int64[n], ascending.
        quantiles: float64[n, 7] at `PERCENTS`; NaN where no value is finite, which breaks the bands.
        least: float64[n], smallest finite values.
        most: float64[n], largest ones.
        axis: where values stand.
        series: the label that gives the colour.
    """
    columns = np.column_stack([least, quantiles, most])
    size = -(-len(step) // MAX_FAN_ROWS) if len(step) else 1
    starts = np.arange(0, len(step), size)
    if size > 1:
        middle = 1 + PERCENTS.index(50)
        filled = ~np.isnan(columns.sum(axis=1))
        low = np.minimum.reduceat(np.where(filled[:, None], columns, np.inf), starts, axis=0)
        high = np.maximum.reduceat(np.where(filled[:, None], columns, -np.inf), starts, axis=0)
        joined = np.where(np.arange(columns.shape[1]) < middle, low, high)
        joined[:, middle] = [_median(columns[at : at + size, middle]) for at in starts.tolist()]
        columns = np.where(np.isfinite(joined), joined, np.nan)
    places = axis.place(columns)
    missing = np.isnan(places)
    names = ["low", *(f"q{percent}" for percent in PERCENTS), "high"]
    label = arrow.codes(np.zeros(len(starts), np.int8), [series])
    x = arrow.column(step[starts].astype(np.float64))
    short = places.astype(np.float32)  # a place is good to a hundredth of a pixel
    fan = {name: arrow.column(np.ascontiguousarray(short[:, k]), missing[:, k]) for k, name in enumerate(names)}
    # Lines and bands need a neighbour: a sample between two empty ones, or the only one, would be nothing at all.
    few = np.flatnonzero(~missing[:, 0]) if len(starts) <= MAX_DOTS else np.empty(0, np.int64)
    dots = {
        "x": arrow.column(step[starts][few].astype(np.float64)),
        "series": arrow.codes(np.zeros(len(few), np.int8), [series]),
        "q50": arrow.column(np.ascontiguousarray(places[few, 1 + PERCENTS.index(50)])),
    }
    return {"fan": arrow.table({"x": x, "series": label, **fan}), "dots": arrow.table(dots)}


def ridge_samples(num: int) -> Ints:
    """Return which of `num` samples become ridges: the first, the last, and evenly between them, at most 32."""
    return (
        np.unique(np.linspace(0, num - 1, min(num, MAX_RIDGES)).round().astype(np.int64))
        if num
        else np.empty(0, np.int64)
    )


def ridge_tables(step: Ints, shares: Floats, axis: ValueAxis) -> dict[str, pa.Table]:
    """Return `ridges`, `names`, `ticks` and `view`.

    Args:
        step: int64[n], of the ridges, ascending.
        shares: float64[bars, n], on equal bars along the axis.
        axis: where values stand; its places are stretched over the bars.
    """
    bars, num = shares.shape
    high = float(np.quantile(shares.max(axis=0), 0.9)) if shares.size else 0.0
    height = np.minimum(shares / (high or 1.0), 1.0) * _RIDGE_HEIGHT
    # A point in the middle of each bar, and the two ends of the axis on the baseline.
    at = np.concatenate([[0.0], (np.arange(bars) + 0.5), [float(bars)]]) * (axis.end / max(bars, 1))
    base = np.arange(num, 0, -1, dtype=np.float64)
    outline = np.vstack([np.zeros(num), height, np.zeros(num)]) + base
    points = len(at)
    ridges = {
        "x": arrow.column(np.tile(at, num)),
        "y0": arrow.column(np.repeat(base, points)),
        "y1": arrow.column(np.ascontiguousarray(outline.T.reshape(-1))),
        "ridge": arrow.column(np.repeat(np.arange(num, dtype=np.int16), points)),
        "step": arrow.column(np.repeat(step.astype(np.float64), points)),
    }
    named = np.arange(0, num, -(-num // 16) if num else 1)
    names = {
        "y": arrow.column(np.ascontiguousarray(base[named])),
        "step": arrow.texts([f"{int(step[k]):,}" for k in named]),
    }
    return {
        "ridges": arrow.table(ridges),
        "names": arrow.table(names),
        "ticks": axis.ticks_table(),
        "view": view_table((0.0, axis.end), (0.6, num + _RIDGE_HEIGHT + 0.2)),
    }


def slice_tables(layers: Sequence[Layer], axis: ValueAxis, most: float) -> dict[str, pa.Table]:
    """Return `bars`, `atoms`, `hover`, `ticks` and `view` of outlines that share their bars.

    Args:
        layers: what is drawn, in the order of the tooltip; all with as many bars.
        axis: where values stand; its places are stretched over the bars.
        most: the share at the upper end of the plot, if no bar is higher.
    """
    num = len(layers[0].shares) if layers else 1
    scale = axis.end / num
    drawn = [layer for layer in layers if layer.is_drawn and layer.constant is None]
    labels = list(dict.fromkeys(layer.series for layer in drawn)) or [""]
    x = np.tile(np.arange(num + 1, dtype=np.float64) * scale, len(drawn))
    y = np.concatenate([np.append(layer.shares, 0.0) for layer in drawn]) if drawn else np.empty(0)
    codes = np.repeat(np.array([labels.index(layer.series) for layer in drawn], np.int8), num + 1)
    whens = np.repeat(np.array([layer.when == "then" for layer in drawn], np.int8), num + 1)
    bars = {
        "x": arrow.column(x),
        "y": arrow.column(y),
        "series": arrow.codes(codes, labels),
        "when": arrow.codes(whens, ["now", "then"]),
    }
    high = max([most, *(float(layer.shares.max(initial=0.0)) for layer in drawn)]) * 1.06 or 1.0
    return {
        "bars": arrow.table(bars),
        "atoms": _atoms(layers, axis, high),
        "hover": _bar_hover(layers, axis, num),
        "ticks": axis.ticks_table(),
        "view": view_table((0.0, axis.end), (0.0, high)),
    }


def counts_table(edges: Floats, step: Ints, num: Ints, counts: dict[str, Ints]) -> pa.Table:
    """Return `counts`: a cell for each sample and kind that occurs; neighbours share one where there are many.

    Args:
        edges: float64[n + 1], where the cells of samples meet.
        step: int64[n].
        num: int64[n], values of each sample.
        counts: by kind, int64[n].
    """
    size = -(-len(step) // MAX_COUNT_CELLS) if len(step) else 1
    starts = np.arange(0, len(step), size)
    rows: list[tuple[float, float, str, float, str, str]] = []
    for kind in KINDS:
        if kind not in counts:
            continue
        share = counts[kind] / np.maximum(num, 1)
        for at in starts.tolist():
            end = min(at + size, len(step))
            k = at + int(np.argmax(share[at:end]))
            if counts[kind][k]:
                told = f"{int(counts[kind][k]):,} of {int(num[k]):,} {kind}"
                rows.append((float(edges[at]), float(edges[end]), kind, float(share[k]), f"{int(step[k]):,}", told))
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(6)]
    x, x2, kinds, shares, ats, texts = columns
    return arrow.table(
        {
            "x": arrow.numbers(x),
            "x2": arrow.numbers(x2),
            "kind": arrow.texts(kinds),
            "share": arrow.numbers(shares),
            "at": arrow.texts(ats),
            "told": arrow.texts(texts),
        }
    )


def share_text(share: float) -> str:
    """Return a share in percent; what is not nothing is never told as 0 %, nor what is not all as 100 %.

    >>> [share_text(share) for share in (0.0, 1e-9, 0.1234, 0.99999, 1.0)]
    ['0 %', '<0.01 %', '12.3 %', '>99.9 %', '100 %']
    """
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01 %"
    return ">99.9 %" if 99.9 < percent < 100 else f"{percent:.3g} %"


def _median(values: Floats) -> float:
    filled = values[~np.isnan(values)]
    return float(np.median(filled)) if len(filled) else float("nan")


def _atoms(layers: Sequence[Layer], axis: ValueAxis, high: float) -> pa.Table:
    """Lines that stand on one value: exact zeros, and tensors whose values are all the same."""
    rows: list[tuple[float, float, str, str, str, float]] = []
    for layer in layers:
        if layer.constant is not None:
            text = f"all finite values are {number_text(layer.constant, 6)}"
            rows.append((float(axis.place(layer.constant)), high, layer.series, layer.when, text, float(len(rows))))
        elif layer.zero_share > 0:
            text = f"{share_text(layer.zero_share)} exactly 0"
            place = float(axis.place(0.0))
            rows.append((place, high * layer.zero_share, layer.series, layer.when, text, float(len(rows))))
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(6)]
    return arrow.table(
        {
            "x": arrow.numbers(columns[0]),
            "y": arrow.numbers(columns[1]),
            "series": arrow.texts(columns[2]),
            "when": arrow.texts(columns[3]),
            "text": arrow.texts(columns[4]),
            "line": arrow.numbers(columns[5]),
        }
    )


def _bar_hover(layers: Sequence[Layer], axis: ValueAxis, num: int) -> pa.Table:
    """Strips over one or more neighbouring bars: from which value to which, and the share of each outline there."""
    size = -(-num // _HOVER_BARS)
    starts = np.arange(0, num, size)
    ends = np.minimum(starts + size, num)
    scale = axis.end / num
    at = np.interp(np.append(starts, num) * scale, np.arange(len(axis.edges)), axis.edges)
    columns = {
        "x": arrow.column(starts * scale),
        "x2": arrow.column(ends * scale),
        "column": arrow.column(np.arange(len(starts), dtype=np.int16)),
        "at": arrow.texts([f"{number_text(a, 4)} to {number_text(b, 4)}" for a, b in itertools.pairwise(at.tolist())]),
        **{
            f"v{k}": arrow.texts(
                [share_text(share) if layer.is_drawn else "" for share in np.add.reduceat(layer.shares, starts)]
            )
            for k, layer in enumerate(layers)
        },
    }
    return arrow.table(columns)
