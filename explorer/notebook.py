"""For notebooks: runs as data frames, and a chart of a metric."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from explorer.errors import MetricNotFound, RunNotFound, UsageError
from explorer.reading.catalogue import Catalogue
from explorer.reading.downsample import Envelope, envelope, m4, marks
from explorer.reading.info import RunInfo
from explorer.reading.runs import Run, open_run
from explorer.reading.scalars import Series, SeriesStore
from explorer.storage.layout import is_run_dir

if TYPE_CHECKING:
    import altair as alt
    import numpy.typing as npt
    import pyarrow as pa

__all__ = ["curves", "list_runs", "open_run"]

# Rows of all lines together: enough for M4 on 1,000 pixels, few enough for a notebook that is saved with its charts.
_MAX_ROWS: Final = 4_000
_MAX_RUNS: Final = 32
_MAX_MARKS: Final = 60  # pixel columns that can hold a mark
_NUM_STRIPS: Final = 100  # of the tooltip
_AIR: Final = 0.04

_FEW: Final = 60  # points of a line up to which each one gets a dot

Runs = str | Path | Run | RunInfo
Points = tuple["npt.NDArray[np.int64]", "npt.NDArray[np.float64]"]


def list_runs(root: str | Path = "logs") -> list[RunInfo]:
    """The runs of a root, newest first; `explorer.reading.info.runs_table` makes a data frame of them.

    Raises:
        RootError: the root cannot be read.
    """
    return Catalogue(root).refresh()


def curves(
    runs: Runs | Iterable[Runs], metric: str, *, log_x: bool = False, log_y: bool = False, height: int = 300
) -> alt.LayerChart:
    """Draw one metric of one or several runs over its steps. The chart shows itself at the end of a notebook's cell.

    Spikes are never lost: up to two lines hold the first, lowest, highest and last point of each pixel column; more
    lines hold the last value of each column over a band from its lowest to its highest. NaN and infinities are marks.

    Args:
        runs: a run (its folder, or as `open_run` or `list_runs` gave it), several, or a root: its newest 32 runs that
            have the metric and are not archived.
        metric: the metric's name.
        log_x: logarithmic steps; those below 1 are left out.
        log_y: logarithmic values; those that are not above 0 are left out.
        height: of the plot, in pixels.

    Raises:
        RunNotFound: there is no run in a folder.
        MetricNotFound: none of the runs has the metric.
        UsageError: more than 32 runs were named.
    """
    import altair as alt

    from explorer.charts.curves import curves_spec
    from explorer.charts.look import CurveLook, domain

    shown = _chosen(runs, metric)
    store = SeriesStore()
    series = [_from_one(store.series(run.path, metric), log_x) for run in shown]
    labels = _labels([run.info for run in shown])
    window = _window(series, log_x)
    look = CurveLook(
        domain=domain({label: place for place, label in enumerate(labels)}),
        shown=tuple(labels),
        title=metric,
        height=height,
        log_x=log_x,
        log_y=log_y,
    )
    chart: alt.LayerChart = alt.LayerChart.from_dict({**curves_spec(look), "width": "container"})
    chart.datasets = {name: table.to_pylist() for name, table in _tables(labels, series, window, log_x, log_y).items()}
    return chart


def _chosen(runs: Runs | Iterable[Runs], metric: str) -> list[Run]:
    if isinstance(runs, str | Path) and not is_run_dir(runs):
        listed = (open_run(info) for info in list_runs(runs) if not info.archived)
        found = list(itertools.islice((run for run in listed if metric in run.metrics), _MAX_RUNS))
        if not found:
            raise MetricNotFound(f"no run in {runs} has a metric {metric!r}, or there is no run yet")
        return found
    given: Sequence[Runs] = [runs] if isinstance(runs, str | Path | Run | RunInfo) else list(runs)
    if not given:
        raise RunNotFound("no run was given; pass a run's folder, several of them, or the folder of all runs")
    if len(given) > _MAX_RUNS:
        raise UsageError(f"{len(given)} runs are too many for one chart; at most {_MAX_RUNS} can be told apart")
    opened = [open_run(each) for each in given]
    having = [run for run in opened if metric in run.metrics]
    if not having:
        opened[0].scalars(metric)  # raises, and names the metrics that come near
    return having


def _labels(infos: Sequence[RunInfo]) -> list[str]:
    """Names of the runs; with the run id where a name is not the only one of its kind."""
    names = [info.name for info in infos]
    return [info.name if names.count(info.name) == 1 else f"{info.name} ({info.run_id})" for info in infos]


def _from_one(series: Series, log_x: bool) -> Points:
    first = int(np.searchsorted(series.step, 1)) if log_x else 0
    return series.step[first:], series.value[first:]


def _window(series: Sequence[Points], log_x: bool) -> tuple[float, float]:
    ends = [(float(x[0]), float(x[-1])) for x, _ in series if len(x)]
    if not ends:
        return (1.0, 10.0) if log_x else (0.0, 1.0)
    low, high = min(first for first, _ in ends), max(last for _, last in ends)
    if low < high:
        return low, high
    return (low / 2, high * 2) if log_x else (low - 0.5, high + 0.5)


def _tables(
    labels: Sequence[str], series: Sequence[Points], window: tuple[float, float], log_x: bool, log_y: bool
) -> dict[str, pa.Table]:
    from explorer.charts.tables import dots_table, lines_table, marks_table, view_table

    lines = [_line(x, y, window, _MAX_ROWS // len(series), log_x) for x, y in series]
    found = [marks(x, y, *window, _MAX_MARKS, log_x=log_x).row for x, y in series]
    few = [line.x <= (np.inf if len(line.x) <= _FEW else -np.inf) for line in lines]
    drawn = {
        name: _drawable(np.concatenate([getattr(line, name) for line in lines]), log_y)
        for name in ("last", "low", "high")
    }
    return {
        "lines": lines_table(
            labels,
            [len(line.x) for line in lines],
            _floats([line.x for line in lines]),
            {"y": drawn["last"], "low": drawn["low"], "high": drawn["high"]},
        ),
        "dots": dots_table(
            labels,
            [int(some.sum()) for some in few],
            _floats([line.x[some] for line, some in zip(lines, few, strict=True)]),
            _drawable(_floats([line.last[some] for line, some in zip(lines, few, strict=True)]), log_y),
        ),
        "marks": marks_table(
            labels,
            [len(rows) for rows in found],
            _floats([x[rows] for (x, _), rows in zip(series, found, strict=True)]),
            _floats([y[rows] for (_, y), rows in zip(series, found, strict=True)]),
        ),
        "hover": _hover(series, window, log_x),
        "view": view_table(window, _heights(series, log_y)),
    }


def _line(
    x: npt.NDArray[np.int64], y: npt.NDArray[np.float64], window: tuple[float, float], max_rows: int, log_x: bool
) -> Envelope:
    """The vertices of a line: M4's where there is room for them, else one a pixel column, with a band."""
    if len(x) > max_rows and max_rows < _MAX_ROWS // 2:
        return envelope(x, y, *window, max_rows, log_x=log_x)
    rows = m4(x, y, *window, max_rows // 4, log_x=log_x)
    nothing = np.full(len(rows), np.nan)
    return Envelope(x[rows], nothing, nothing, y[rows], np.ones(len(rows), np.int64))


def _hover(series: Sequence[Points], window: tuple[float, float], log_x: bool) -> pa.Table:
    from explorer.charts.look import MAX_HOVER
    from explorer.charts.tables import hover_table

    edges = (np.geomspace if log_x else np.linspace)(*window, _NUM_STRIPS + 1)
    texts = []
    for x, y in series[:MAX_HOVER]:
        column = envelope(x, y, *window, _NUM_STRIPS, log_x=log_x)
        strip = np.clip(np.searchsorted(edges, column.x, side="right") - 1, 0, _NUM_STRIPS - 1)
        told = ["–"] * _NUM_STRIPS
        for at, low, high, last in zip(strip, column.low, column.high, column.last, strict=True):
            told[at] = f"{last:,.5g}" + (f"  ({low:,.5g} to {high:,.5g})" if low < high else "")
        texts.append(told)
    at = [f"{first:,.0f} to {last:,.0f}" for first, last in itertools.pairwise(edges)]
    hidden = len(series) - MAX_HOVER
    return hover_table(edges, at, texts, f"{hidden} more" if hidden > 0 else "")


def _heights(series: Sequence[Points], log_y: bool) -> tuple[float, float]:
    """The ends of the y axis: everything finite, with some air."""
    pool = _floats([y for _, y in series])
    pool = pool[np.isfinite(pool) & (pool > 0 if log_y else True)]
    if not len(pool):
        return (1.0, 10.0) if log_y else (0.0, 1.0)
    ends = np.log10([pool.min(), pool.max()]) if log_y else np.array([pool.min(), pool.max()])
    air = (ends[1] - ends[0]) * _AIR or (0.3 if log_y else abs(ends[0]) * 0.05 or 0.5)
    low, high = float(ends[0] - air), float(ends[1] + air)
    return (10.0**low, 10.0**high) if log_y else (low, high)


def _drawable(values: npt.NDArray[np.float64], log_y: bool) -> npt.NDArray[np.float64]:
    """NaN, which breaks a line, for what a line cannot show."""
    return np.where(np.isfinite(values) & (values > 0 if log_y else True), values, np.nan)


def _floats(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.empty(0), *parts])
