"""The charts of a tensor over the steps: what each card draws, made from histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from explorer.app.colours import DARK_RAMP, LIGHT_RAMP
from explorer.app.distributions_choices import FAN, HEAT, RIDGES, Choices
from explorer.app.distributions_data import NUM_BINS, Sampled, Shared, bars, kept, num_bars, num_rows, quantiles, shared
from explorer.app.distributions_text import about, counts_text, heat_text, totals_text
from explorer.charts import arrow
from explorer.charts.distribution_tables import counts_table, fan_tables, ridge_samples, ridge_tables, view_table
from explorer.charts.distributions import COUNT_TABLES, PERCENTS, counts_spec, fan_spec, ridge_spec
from explorer.charts.heat_map import (
    MAX_COLUMNS,
    heat_spec,
    heat_tables,
    step_table,
    strip_samples,
    strips_table,
    strongest,
)
from explorer.charts.look import domain
from explorer.charts.step_axis import sample_edges
from explorer.charts.value_axis import number_text

if TYPE_CHECKING:
    import pyarrow as pa

    from explorer.analysis.shared_axis import Histograms

# What the tooltips of heat map and fan tell of a sample.
TITLES: Final = ("step", "median", "5 % to 95 %", "min to max", "beside")
# A ridge has no more bars than suit so many values: 32 of them share the rows of one chart.
_RIDGE_VALUES: Final = 10_000
_HEIGHT: Final = 300
# A browser leaves out rows of a picture where a plot has fewer pixels: each has one, beside what axis and legend take.
_HEAT_HEIGHT: Final = NUM_BINS + 92
_RIDGES_HEIGHT: Final = 440
_MEDIAN, _LOW, _HIGH = PERCENTS.index(50), PERCENTS.index(5), PERCENTS.index(95)

Window = tuple[float, float]
Datasets = dict[str, bytes]


@dataclass(frozen=True, eq=False)
class Picture:
    """One card, ready to be drawn or exported.

    Attributes:
        choices: what is drawn.
        sampled: of which run.
        rows: the histograms in the window.
        window: the steps on the x axis.
        spec: specification of the chart.
        data: makes its tables, with the colours of a dark page or of a light one.
        counts: specification and tables of the strip of counts; None when all values are numbers other than 0.
        caption: what is drawn.
    """

    choices: Choices
    sampled: Sampled
    rows: Histograms
    window: Window
    spec: dict[str, Any]
    data: Callable[[bool], Datasets]
    counts: tuple[dict[str, Any], Datasets] | None
    caption: str


def pictures(shown: Sequence[Sampled], choices: Choices, window: Window | None) -> list[Picture]:
    """Return the cards of these runs, on one axis of steps and one of values.

    Runs without a sample in the window have no card.
    """
    parts = {one.info.run_id: one.inside(window) for one in shown}
    filled = [one for one in shown if len(parts[one.info.run_id])]
    if not filled:
        return []
    ends = window or (min(float(one.edges[0]) for one in filled), max(float(one.edges[-1]) for one in filled))
    found = shared([parts[one.info.run_id] for one in filled], choices.scale)
    # Several cards stand two beside each other.
    columns = MAX_COLUMNS if len(filled) == 1 else MAX_COLUMNS // 2
    return [
        _picture(choices, one, parts[one.info.run_id], found, place, ends, columns) for place, one in enumerate(filled)
    ]


def _picture(
    choices: Choices, one: Sampled, rows: Histograms, found: Shared, place: int, ends: Window, columns: int
) -> Picture:
    if choices.view == HEAT:
        spec = heat_spec(TITLES, _HEAT_HEIGHT)
        num = num_rows(int(rows.n.max()), found.num_bins)
        caption = heat_text(num, len(rows), columns)

        def data(dark: bool) -> Datasets:
            made = partial(_heat, rows, found, place, ends, dark, num, columns)
            return kept(("heat", rows, found, ends, dark, columns), lambda: _sent(made()))

    elif choices.view == FAN:
        spec = fan_spec(domain({one.label: one.place}), TITLES, _HEIGHT)
        caption = "bands: 25 to 75 %, 5 to 95 % and 1 to 99 % of the values, line: median, dashed: smallest and largest"

        def data(dark: bool) -> Datasets:
            return kept(("fan", rows, found, ends, one.label), lambda: _sent(_fan(one.label, rows, found, ends)))

    else:
        spec = ridge_spec(_RIDGES_HEIGHT)
        num = len(ridge_samples(len(rows)))
        caption = f"{num} of {len(rows)} samples, the oldest at the top" if num < len(rows) else "the oldest at the top"

        def data(dark: bool) -> Datasets:
            return kept(("ridges", rows, found), lambda: _sent(_ridges(rows, found, place)))

    text = " · ".join([*about(choices.tensor, choices.kind, rows), totals_text(rows), caption])
    return Picture(choices, one, rows, ends, spec, data, _counts(rows, ends, choices.view == RIDGES), text)


def _heat(
    rows: Histograms, found: Shared, place: int, ends: Window, dark: bool, num: int, columns: int
) -> dict[str, pa.Table]:
    # All runs in one colour scale: what most samples of any of them stay under.
    top = max(strongest(bars(shares, num)) for shares in found.found.shares)
    colours = (DARK_RAMP if dark else LIGHT_RAMP)[1:]
    hover, ticks = _strips(rows, ends), found.axis.ticks(num)
    edges = sample_edges(rows.step)
    return heat_tables(bars(found.whole[place], num), edges, ends, colours, hover, ticks, top, columns)


def _fan(label: str, rows: Histograms, found: Shared, ends: Window) -> dict[str, pa.Table]:
    fan = fan_tables(rows.step, quantiles(rows), rows.min, rows.max, found.axis, label)
    axes = {"ticks": found.axis.ticks_table(), "view": view_table(ends, (0.0, found.axis.end))}
    return {**fan, **axes, "hover": _strips(rows, ends), "step": step_table(None)}


def _ridges(rows: Histograms, found: Shared, place: int) -> dict[str, pa.Table]:
    picked = ridge_samples(len(rows))
    num = num_bars(min(int(rows.n.max()), _RIDGE_VALUES), found.num_bins)
    return ridge_tables(rows.step[picked], bars(found.whole[place][:, picked], num), found.axis)


def _strips(rows: Histograms, ends: Window) -> pa.Table:
    """What the pointer tells at each sample."""
    edges = sample_edges(rows.step)
    shown = strip_samples(edges, ends)
    fan = quantiles(rows)
    numbers = zip(
        rows.step[shown].tolist(), fan[shown].tolist(), rows.min[shown].tolist(), rows.max[shown].tolist(), strict=True
    )
    texts = [
        (f"{step:,}", number_text(q[_MEDIAN]), _span(q[_LOW], q[_HIGH]), _span(low, high))
        for step, q, low, high in numbers
    ]
    columns = [list(column) for column in zip(*texts, strict=True)] or [[] for _ in range(4)]
    return strips_table(edges, ends, shown, [*columns, [counts_text(rows, int(k)) for k in shown]])


def _span(low: float, high: float) -> str:
    return f"{number_text(low)} to {number_text(high)}"


def _counts(rows: Histograms, ends: Window, with_steps: bool) -> tuple[dict[str, Any], Datasets] | None:
    found = {"NaN": rows.nans, "Inf": rows.infs, "zero": rows.zeros}
    some = {kind: counts for kind, counts in found.items() if counts.any()}
    if not some:
        return None

    def make() -> Datasets:
        table = counts_table(sample_edges(rows.step), rows.step, rows.n, some)
        return _sent(dict(zip(COUNT_TABLES, (table, view_table(ends, (0.0, 1.0))), strict=True)))

    return counts_spec(tuple(some), with_steps), kept(("counts", rows, ends), make)


def _sent(tables: dict[str, pa.Table]) -> Datasets:
    return {name: arrow.ipc(table) for name, table in tables.items()}
