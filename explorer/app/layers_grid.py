"""One statistic of all layers over steps, as a picture: layers from top to bottom, steps from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from explorer.app.layers_data import STATISTICS, LayerStatistics
from explorer.app.names import count_text
from explorer.app.picture_card import PictureCard, grid_csv, name_ticks, picture_card, step_columns
from explorer.app.run_text import value_text
from explorer.charts.pictures import MAX_CELLS, Cells, PictureLook

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ROW_PX: Final = 15
_MIN_PX: Final = 60
_MAX_PX: Final = 620
_NUM_TICKS: Final = 8
_MAX_KEPT: Final = 16  # of 2 MB each where a hundred layers have a thousand steps


@dataclass(frozen=True, eq=False)
class Grid:
    """A statistic of layers over steps.

    Attributes:
        names: of the layers that have it, in their order.
        steps: int64[T], ascending: every step at which one of them was recorded.
        values: float64[L, T]; masked where a layer was not recorded.
    """

    names: tuple[str, ...]
    steps: Ints
    values: np.ma.MaskedArray

    @cached_property
    def columns(self) -> list[Ints]:
        """Which steps each column of the picture stands for."""
        return step_columns(len(self.names), self.steps)

    @cached_property
    def cells(self) -> Cells:
        """What the tooltip tells."""
        return _cells(self, self.columns)


def statistic_grid(statistics: LayerStatistics, names: Sequence[str], key: str) -> Grid:
    """Return the statistic `key` of the layers that have it."""
    what = ("grid", key, tuple(names))
    if what not in statistics.memo:
        if len(statistics.memo) >= _MAX_KEPT:
            statistics.memo.clear()
        statistics.memo[what] = _make_grid(statistics, names, key)
    grid: Grid = statistics.memo[what]
    return grid


def _make_grid(statistics: LayerStatistics, names: Sequence[str], key: str) -> Grid:
    found = {name: series for name in names if (series := statistics.series(name, key)) is not None}
    steps = np.unique(np.concatenate([np.empty(0, np.int64), *(series.step for series in found.values())]))
    values = np.ma.array(np.zeros((len(found), steps.size)), mask=True)
    for row, series in enumerate(found.values()):
        values[row, np.searchsorted(steps, series.step)] = series.value
    return Grid(tuple(found), steps, values)


def grid_ends(grids: Sequence[Grid], log: bool) -> tuple[float, float]:
    """Return the values (their logarithms to base 10, if `log`) that have the first and the last colour.

    From the 1 % to the 99 % point of all values, so that one spike does not make everything else one colour.
    """
    parts = [_scaled(grid.values, log).compressed() for grid in grids]
    good = np.concatenate([np.empty(0), *parts])
    good = good[np.isfinite(good)]
    if not good.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.quantile(good, [0.01, 0.99]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def draw_grid(
    grid: Grid, key: str, chart: str, *, title: str | None = None, ends: tuple[float, float] | None = None,
    of: str = "", code: str | None = None, height: int | None = None,
) -> None:  # fmt: skip
    """Draw the grid of the statistic `key` under the chart key `chart`; `ends` for a scale that several share."""
    what = STATISTICS[key]
    scaled = _scaled(grid.values, what.log)
    columns = grid.columns
    pixels = column_means(scaled, columns)
    low, high = ends or grid_ends([grid], what.log)
    height = height or min(max(len(grid.names) * _ROW_PX, _MIN_PX), _MAX_PX)
    look = PictureLook(
        tips=("layer", "step", what.title),
        log=what.log,
        height=height,
        x_title="step",
        legend=what.title + (" (log scale)" if what.log else ""),
        y_extent=80,
    )
    steps = count_text(grid.steps.size, "recorded step")
    caption = [f"{count_text(len(grid.names), 'layer')} in model order, {steps}"]
    most = max(len(part) for part in columns)
    if most > 1:
        mean = "geometric mean" if what.log else "mean"
        caption.append(f"each column the {mean} of up to {most:,} of them, the tooltip tells their range")
    else:
        caption.append("a column each, whatever lies between them")
    caption.append("colours from the 1 % to the 99 % point" if ends is None else "one colour scale for all runs")
    if what.log and (num := int((np.ma.filled(grid.values, 1.0) <= 0).sum())):
        caption.append(f"{num:,} values at or below 0 in grey")
    if num := int((~np.isfinite(np.ma.filled(grid.values, 0.0))).sum()):
        caption.append(f"{num:,} NaN or Inf in pink")
    card = PictureCard(
        title=title or what.title,
        of=of,
        key=chart,
        caption=" · ".join(caption),
        look=look,
        help=what.about or None,
        make_csv=lambda: grid_csv(grid.names, grid.steps.tolist(), np.ma.filled(grid.values, np.nan), "layer"),
        code=code,
    )
    picture_card(
        pixels,
        (low, high),
        grid.cells,
        _step_ticks(grid.steps, columns),
        name_ticks(grid.names, height),
        card,
    )


def column_means(values: np.ma.MaskedArray, columns: Sequence[Ints]) -> np.ma.MaskedArray:
    """Return the mean of each row over the steps of each column, masked where none of them was recorded.

    NaN stays NaN, so that it is seen; means of masked arrays would hide it.
    """
    starts = [int(part[0]) for part in columns]
    there = ~np.ma.getmaskarray(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(there, np.ma.getdata(values), 0.0), starts, axis=1)
        counts = np.add.reduceat(there, starts, axis=1, dtype=np.int64)
        return np.ma.array(sums / counts, mask=counts == 0)


def _scaled(values: np.ma.MaskedArray, log: bool) -> np.ma.MaskedArray:
    """The values, or their logarithms: -inf for 0 and below, and NaN (not masked) stays, so that both are seen."""
    if not log:
        return values
    plain = np.ma.getdata(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(plain <= 0, -np.inf, np.log10(np.where(plain <= 0, 1.0, plain)))
    return np.ma.array(logs, mask=np.ma.getmaskarray(values))


def _step_ticks(steps: Ints, columns: Sequence[Ints]) -> list[tuple[float, str]]:
    gap = max(1, -(-len(columns) // _NUM_TICKS))
    return [(place + 0.5, f"{int(steps[columns[place][0]]):,}") for place in range(0, len(columns), gap)]


def _cells(grid: Grid, columns: Sequence[Ints]) -> Cells:
    """One cell of the tooltip per layer and group of columns."""
    num_layers = len(grid.names)
    wide = max(1, -(-len(columns) * num_layers // MAX_CELLS))
    tall = max(1, -(-num_layers // MAX_CELLS))
    lefts = np.arange(0, len(columns), wide)
    tops = np.arange(0, num_layers, tall)
    y, x = (side.ravel().astype(np.float64) for side in np.meshgrid(tops, lefts, indexing="ij"))
    texts: list[list[str]] = [[], [], []]
    for top in tops.tolist():
        for left in lefts.tolist():
            part = np.concatenate(columns[left : left + wide])
            first, last = int(grid.steps[part[0]]), int(grid.steps[part[-1]])
            texts[0].append(grid.names[top][:80])
            texts[1].append(f"{first:,}" if first == last else f"{first:,} to {last:,}")
            texts[2].append(_told(grid.values[top, part].compressed()))
    x2, y2 = np.minimum(x + wide, len(columns)), np.minimum(y + tall, num_layers)
    return Cells(x, x2, y, y2, texts)


def _told(values: Floats) -> str:
    if not values.size:
        return "not recorded"
    good = values[np.isfinite(values)]
    if not good.size:
        return "NaN" if np.isnan(values).any() else "Inf"
    low, high = value_text(float(good.min()), digits=3), value_text(float(good.max()), digits=3)
    return (low if low == high else f"{low} to {high}") + (", some NaN or Inf" if good.size < values.size else "")
