"""From runs to the series of one chart: read, put on the x axis, smoothed, averaged over groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from explorer.analysis.alignment import RULE, group_mean
from explorer.analysis.smoothing import ema, halflife_of, typical_gap
from explorer.app.metrics_options import (
    BY_GROUP,
    CONFIG,
    EPOCH,
    METRIC,
    NO_GROUP,
    RELATIVE,
    STEP,
    WALL,
    Options,
    is_epoch,
)
from explorer.app.metrics_tables import Curve
from explorer.app.names import plain

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.scalars import Series, SeriesStore

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]

# More lines than this in one chart cannot be told apart; the caption says how many are left out.
MAX_SERIES: Final = 60
_UNITS: Final = (
    ("days", 86_400.0, 3 * 86_400.0),
    ("h", 3_600.0, 2 * 3_600.0),
    ("min", 60.0, 180.0),
    ("s", 1.0, -math.inf),
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The series of one chart, whole.

    Attributes:
        curves: what is drawn, in the order of legend and tooltip.
        places: place in the palette of each curve's label.
        x_unit: of relative time: `s`, `min`, `h` or `days`.
        run_ids: of the runs that are drawn, alone or in means.
        halflife: of the smoothing in steps; 0 without.
        notes: what is not drawn, and rules that the picture alone does not tell.
        problems: files that could not be used, each with its run and its reason.
        num_nan, num_inf: values left out of means.
    """

    curves: tuple[Curve, ...]
    places: Mapping[str, int]
    x_unit: str = "s"
    run_ids: tuple[str, ...] = ()
    halflife: float = 0.0
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    num_nan: int = 0
    num_inf: int = 0

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays that are not the store's own."""
        arrays = (a for c in self.curves for a in (c.x, c.y, c.smooth, c.spread, c.count) if a is not None)
        return 1_000 + sum(array.nbytes for array in arrays if array.flags.writeable)


@dataclass(eq=False)
class _Run:
    info: RunInfo
    series: Series
    x: Numbers
    y: Floats
    smooth: Floats | None = None
    blocks: Any = None
    order: Numbers | None = field(default=None)


def relative_unit(infos: Iterable[RunInfo]) -> tuple[str, float]:
    """Return the unit of relative time and its seconds, in which the longest of the runs is read well."""
    return time_unit(max((info.duration_s for info in infos), default=0.0))


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit in which a span of time is read well, and its seconds.

    >>> time_unit(90.0), time_unit(7300.0)
    (('s', 1.0), ('h', 3600.0))
    """
    return next((unit, size) for unit, size, least in _UNITS if seconds >= least)


def prepare(
    store: SeriesStore,
    metric: str,
    infos: Sequence[RunInfo],
    labels: Mapping[str, str],
    places: Mapping[str, int],
    options: Options,
) -> Prepared:
    """Return the series of `metric` over the runs that have recorded it.

    Args:
        store: where series are read.
        metric: its name.
        infos: the selected runs.
        labels: unique label of each run id.
        places: place in the palette of each run id.
        options: what the user asks for.
    """
    having = [info for info in infos if metric in info.metrics]
    notes: list[str] = []
    if len(having) > MAX_SERIES and options.group == NO_GROUP:
        notes.append(f"{len(having) - MAX_SERIES} more runs are not drawn")
        having = having[:MAX_SERIES]
    unit, unit_s = relative_unit(infos)
    runs: list[_Run] = []
    problems: list[str] = []
    without_x, before_x, replaced = 0, 0, 0
    for info in having:
        series = store.series(info.path, metric)
        problems += [f"{labels[info.run_id]}: {problem}" for problem in series.problems]
        replaced += series.num_replaced
        placed = _on_axis(store, info, series, options.x, unit_s)
        if placed is None:
            without_x += 1
            continue
        x, y, order = placed
        before_x += len(series.step) - len(x)
        runs.append(_Run(info, series, x, y, order=order, blocks=series.blocks if y is series.value else None))
    if without_x:
        notes.append(f"{without_x} runs have no such x" if without_x > 1 else "1 run has no such x")
    if before_x:
        notes.append(f"{before_x:,} points before the first x are not drawn")
    if replaced:
        notes.append(f"{replaced:,} values not drawn that later ones replaced, of the same step or after a resume")
    halflife = _smooth(runs, options.smoothing)
    run_ids = tuple(run.info.run_id for run in runs)
    if options.group == NO_GROUP:
        curves = tuple(
            Curve(labels[run.info.run_id], run.x, run.y, smooth=run.smooth, blocks=run.blocks) for run in runs
        )
        shown = {labels[run.info.run_id]: places[run.info.run_id] for run in runs}
        return Prepared(curves, shown, unit, run_ids, halflife, tuple(notes), tuple(dict.fromkeys(problems)))
    curves, unequal = _means(runs, options.group)
    if unequal:
        notes.append(RULE)
    return Prepared(
        curves,
        {curve.label: place for place, curve in enumerate(curves)},
        unit,
        run_ids,
        halflife,
        tuple(notes),
        tuple(dict.fromkeys(problems)),
        num_nan=sum(int(np.isnan(run.y).sum()) for run in runs),
        num_inf=sum(int(np.isinf(run.y).sum()) for run in runs),
    )


def group_of(info: RunInfo, group: str) -> str:
    """Return the name of the group that a run belongs to, as text to show."""
    if group == BY_GROUP:
        return plain(info.group, 60) if info.group else "no group"
    key = group.removeprefix(CONFIG)
    config = info.flat_config
    name = plain(key.rsplit(".", 1)[-1], 40)
    return f"{name} = {plain(config[key], 40)}" if key in config else f"no {name}"


def _on_axis(
    store: SeriesStore, info: RunInfo, series: Series, x: str, unit_s: float
) -> tuple[Numbers, Floats, Numbers | None] | None:
    """Return x ascending, the values in its order and that order (None: as recorded); None without such an x."""
    if x == STEP:
        return series.step, series.value, None
    if x in (RELATIVE, WALL):
        start_us = info.created.timestamp() * 1e6
        at = series.wall_us / 1e3 if x == WALL else (series.wall_us - start_us) / (1e6 * unit_s)
        return _ascending(np.asarray(at, np.float64), series.value, None)
    name = x_metric(info, x)
    if name is None:
        return None
    other = store.series(info.path, name)
    row = np.searchsorted(other.step, series.step, side="right") - 1
    if not len(other.step):
        return None
    found = np.where(row >= 0, other.value[np.maximum(row, 0)], np.nan)
    known = np.flatnonzero(np.isfinite(found))
    return _ascending(found[known], series.value[known], known)


def x_metric(info: RunInfo, x: str) -> str | None:
    """Return the name of the run's metric that stands on the x axis, None when it has none or the axis is no metric."""
    if x == EPOCH:
        return min((name for name in info.metrics if is_epoch(name)), key=lambda name: (len(name), name), default=None)
    name = x.removeprefix(METRIC)
    return name if x.startswith(METRIC) and name in info.metrics else None


def _ascending(x: Floats, y: Floats, order: Numbers | None) -> tuple[Numbers, Floats, Numbers | None]:
    if x.size < 2 or bool(np.all(x[1:] >= x[:-1])):
        return x, y, order
    by_x = np.argsort(x, kind="stable")
    return x[by_x], y[by_x], by_x if order is None else order[by_x]


def _smooth(runs: Sequence[_Run], weight: float) -> float:
    """Smooth every run along its steps with one half-life, that of the run with the middle distance of steps."""
    if not weight or not runs:
        return 0.0
    halflife = halflife_of(weight, float(np.median([typical_gap(run.series.step) for run in runs])))
    for run in runs:
        smooth = ema(run.series.step, run.series.value, halflife)
        run.smooth = smooth if run.order is None else smooth[run.order]
    return halflife


def _means(runs: Sequence[_Run], group: str) -> tuple[tuple[Curve, ...], bool]:
    """The mean of each group, and whether any of them is over runs whose steps are not the same."""
    members: dict[str, list[_Run]] = {}
    for run in runs:
        members.setdefault(group_of(run.info, group), []).append(run)
    curves = []
    unequal = False
    for name in sorted(members, key=_natural):
        found = members[name]
        mean = group_mean([(run.x, run.y if run.smooth is None else run.smooth) for run in found])
        unequal |= any(run.x.size != mean.x.size for run in found)
        label = f"{name} · {len(found)} run{'s' if len(found) > 1 else ''}"
        curves.append(Curve(label, mean.x, mean.mean, spread=mean.std, count=mean.num))
    return tuple(curves), unequal


def _natural(name: str) -> tuple[bool, float, str]:
    """Numbers by size, then text by letters."""
    try:
        return False, float(name.rpartition("= ")[2]), name
    except ValueError:
        return True, 0.0, name
