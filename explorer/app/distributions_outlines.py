"""Distributions over each other on the same bars, and their numbers; the pages Distributions and Drift draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import streamlit as st

from explorer.app import outlines_export
from explorer.app.distributions_choices import Choices
from explorer.app.distributions_data import Sampled, Shared, bars, kept, num_bars, shared
from explorer.app.distributions_text import bins_text, num_finite, values_text
from explorer.app.names import esc
from explorer.charts import arrow
from explorer.charts.distribution_tables import Layer, slice_tables
from explorer.charts.distributions import NOW, THEN, slice_spec
from explorer.charts.look import domain
from explorer.charts.value_axis import ValueAxis

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms

_HEIGHT = 280


@dataclass(frozen=True)
class Outline:
    """One tensor of one run at one sampled step.

    Attributes:
        sampled: the tensor.
        row: which of its samples.
    """

    sampled: Sampled
    row: int

    @property
    def step(self) -> int:
        """The step of the sample."""
        return int(self.sampled.rows.step[self.row])

    @cached_property
    def histogram(self) -> Histograms:
        """The sample alone."""
        rows, row = self.sampled.rows, self.row
        return kept(("row", rows, row), lambda: rows.row(row))

    @property
    def name(self) -> str:
        """The run and the step."""
        return f"{self.sampled.label}, step {self.step:,}"


def outlines(choices: Choices, now: Sequence[Outline], then: Sequence[Outline | None], key: str = "slice") -> None:
    """Draw distributions over each other, on the axis of all their samples, and what is drawn (see `slice_chart`)."""
    chart = slice_chart(choices, now, then)
    drawn = [*now, *(outline for outline in then if outline is not None)]
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{esc(choices.tensor, 120)}**", width="content")
        outlines_export.menu(key, choices, drawn, (chart.spec, chart.data), chart.axis)
    # The same for every tensor: a text that changes would draw a new chart.
    alt = "Distributions over each other, told in numbers by the tooltip and the table of numbers"
    st.vega_lite_chart({**chart.spec, "datasets": chart.data}, key=f"{key}_{choices.scale}_{bool(then)}", alt=alt)
    if not any(np.isfinite(outline.histogram.min[0]) for outline in drawn):
        some = any(outline.histogram.n[0] for outline in drawn)
        none = "No value is finite" if some else "The tensor has no elements"
        st.caption(f"{none} at this step, so there is nothing to draw.")
    first = drawn[0].histogram
    told = [choices.tensor, values_text(first), bins_text(first), "exact zeros stand apart as a line"]
    if then:
        told.append("dashed: what it is compared with")
    st.caption(esc(" · ".join(told), 400))


class SliceChart(NamedTuple):
    """Specification, tables and axis of values of distributions over each other."""

    spec: dict[str, Any]
    data: dict[str, bytes]
    axis: ValueAxis


def slice_chart(choices: Choices, now: Sequence[Outline], then: Sequence[Outline | None]) -> SliceChart:
    """Return the chart of distributions over each other.

    Args:
        choices: kind, tensor and scale.
        now: what is drawn with solid lines.
        then: what each of them is compared with, dashed; empty when no step is compared with another.
    """
    ordered = [part for pair in zip(now, then, strict=True) for part in pair] if then else list(now)
    drawn = [outline for outline in ordered if outline is not None]
    together = list(dict.fromkeys(outline.sampled.rows for outline in drawn))
    found = shared(together, choices.scale)
    places = {outline.sampled.label: outline.sampled.place for outline in drawn}
    # Without the step, which would make another chart of every step.
    names = tuple(
        ""
        if outline is None
        else f"{outline.sampled.label}, compared with"
        if then and at % 2
        else outline.sampled.label
        for at, outline in enumerate(ordered)
    )
    spec = slice_spec(domain(places), names, _HEIGHT)
    key = ("slice", found, tuple(None if part is None else (part.sampled.rows, part.row) for part in ordered), names)
    return SliceChart(spec, kept(key, lambda: _sent(ordered, bool(then), together, found)), found.axis)


def _sent(
    ordered: Sequence[Outline | None], paired: bool, together: Sequence[Histograms], found: Shared
) -> dict[str, bytes]:
    num = num_bars(min(int(rows.n.max()) for rows in together), found.num_bins)
    by_run = [bars(shares, num) for shares in found.found.shares]
    layers = []
    for at, outline in enumerate(ordered):
        if outline is None:  # keeps the columns of the tooltip in their places
            layers.append(Layer("", THEN, np.zeros(num), is_drawn=False))
            continue
        place = together.index(outline.sampled.rows)
        zeros = float(np.nan_to_num(found.found.zeros[place][outline.row]))
        layers.append(
            Layer(
                outline.sampled.label,
                THEN if paired and at % 2 else NOW,
                by_run[place][:, outline.row],
                zeros,
                _constant(outline.histogram),
            )
        )
    # The height that most samples stay under, so that the plot stands still while steps are played.
    most = max(float(np.median(shares.max(axis=0))) for shares in by_run)
    return {name: arrow.ipc(table) for name, table in slice_tables(layers, found.axis, most).items()}


def numbers(drawn: Sequence[Outline]) -> None:
    """Draw the table of moments and counts of each distribution."""
    st.dataframe(
        numbers_table(drawn),
        hide_index=True,
        height="content",
        alt="Mean, standard deviation, ends, and counts of zero, NaN and infinite values",
        column_config={
            **{name: st.column_config.NumberColumn(name, format="%.4g") for name in ("mean", "std", "min", "max")},
            **{
                name: st.column_config.NumberColumn(name, format="localized")
                for name in ("values", "zero", "NaN", "Inf")
            },
        },
        placeholder="",
    )


def numbers_table(drawn: Sequence[Outline]) -> pa.Table:
    """Return one row for each distribution: run, step, values, mean, std, min, max, zero, NaN, Inf."""
    rows = [outline.histogram for outline in drawn]

    def column(name: str) -> list[float | None]:
        values = [float(getattr(row, name)[0]) for row in rows]
        return [value if np.isfinite(value) else None for value in values]

    def counts(name: str) -> pa.Array:
        return arrow.numbers([int(getattr(row, name)[0]) for row in rows], pa.int64())

    return arrow.table(
        {
            "run": arrow.texts([outline.sampled.label for outline in drawn]),
            "step": arrow.texts([f"{outline.step:,}" for outline in drawn]),
            "values": counts("n"),
            **{name: arrow.numbers(column(name)) for name in ("mean", "std", "min", "max")},
            "zero": counts("zeros"),
            "NaN": counts("nans"),
            "Inf": counts("infs"),
        }
    )


def _constant(row: Histograms) -> float | None:
    """The value that all finite values are equal to, None when they differ or there is none."""
    some = int(num_finite(row)[0]) > 0
    return float(row.min[0]) if some and row.min[0] == row.max[0] else None
