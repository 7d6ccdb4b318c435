"""What a card of the page Distributions can be taken away as: PNG, SVG, CSV, and the lines that reproduce it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from explorer.analysis.quantiles import bin_bounds
from explorer.app.colours import LIGHT, LIGHT_RAMP
from explorer.app.csv_text import csv_bytes
from explorer.app.distributions_choices import FAN
from explorer.app.distributions_code import lines
from explorer.app.distributions_data import quantiles
from explorer.app.export_menu import Export, export_menu, tables
from explorer.charts.distributions import PERCENTS
from explorer.charts.export import standalone

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms
    from explorer.app.distributions_pictures import Picture

_HEIGHTS: Final = {"heat": 400, "fan": 400, "ridges": 520}


def menu(picture: Picture) -> None:
    """Draw the button that opens the exports of a card."""
    fan = picture.choices.view == FAN
    export_menu(
        Export(
            name=f"{picture.choices.view}_{picture.sampled.info.run_id}",
            stem=f"{picture.sampled.label}-{picture.choices.tensor}-{picture.choices.kind}",
            spec=lambda: picture_spec(picture),
            table=lambda: to_csv(picture),
            about_table="The quantiles of every sample" if fan else "The recorded bins and counts of every sample",
            code=lambda: lines(picture),
        )
    )


def picture_spec(picture: Picture) -> dict[str, Any]:
    """Return the specification of the picture of a card, in the light theme."""
    title = f"{picture.choices.tensor}, {picture.sampled.label}"
    return standalone(
        picture.spec,
        tables(picture.data(False)),
        LIGHT,
        LIGHT_RAMP,
        title,
        picture.caption,
        _HEIGHTS[picture.choices.view],
    )


def to_csv(picture: Picture) -> bytes:
    """Return the samples in the window as CSV: the quantiles of a fan, else every recorded bin (see `bins_csv`)."""
    return quantiles_csv(picture.rows) if picture.choices.view == FAN else bins_csv(picture.rows)


def quantiles_csv(rows: Histograms) -> bytes:
    """Return one line for each sample: step, counts, moments and quantiles; empty where no value is finite."""
    named = [f"{percent}%" for percent in PERCENTS]
    header = ["step", "values", "nan", "inf", "zero", "mean", "std", "min", *named, "max"]
    whole = (rows.step, rows.n, rows.nans, rows.infs, rows.zeros)
    fan = quantiles(rows)
    numbers = np.column_stack([rows.mean, rows.std, rows.min, fan, rows.max]).tolist()
    both = zip(zip(*(part.tolist() for part in whole), strict=True), numbers, strict=True)
    rows_of = ([*counts, *(None if value != value else value for value in values)] for counts, values in both)
    return csv_bytes(header, rows_of)


def bins_csv(rows: Histograms) -> bytes:
    """Return one line for each occupied bin of each sample: step, low, high, count.

    Then one for each kind of values that are in no bin, with the kind (NaN or Inf) in place of low and high.
    """
    return csv_bytes(["step", "low", "high", "count"], _bins(rows))


def _bins(rows: Histograms) -> Iterator[tuple[object, ...]]:
    for k in range(len(rows)):
        step = int(rows.step[k])
        row = slice(int(rows.offsets[k]), int(rows.offsets[k + 1]))
        low, high = bin_bounds(rows.bins[row], int(rows.m[k]))
        for a, b, count in zip(low.tolist(), high.tolist(), rows.counts[row].tolist(), strict=True):
            yield step, a, b, count
        for kind, number in (("NaN", int(rows.nans[k])), ("Inf", int(rows.infs[k]))):
            if number:
                yield step, kind, kind, number
