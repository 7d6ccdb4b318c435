"""What is said about histograms: what a chart draws, what is no number, and how precise it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from explorer.app.tensor_kinds import ONE

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms


def about(tensor: str, kind: str, rows: Histograms) -> list[str]:
    """Return what is drawn: the tensor, how many values and samples, and how wide the recorded bins are."""
    return [tensor, ONE[kind], values_text(rows), samples_text(rows), bins_text(rows)]


def values_text(rows: Histograms) -> str:
    """Return how many values a sample has.

    >>> from explorer.storage.bins import histogram_of
    >>> values_text(histogram_of([1.0, 2.0]))
    '2 values'
    """
    least, most = int(rows.n.min(initial=2**62)), int(rows.n.max(initial=0))
    if least < most:
        return f"{least:,} to {most:,} values"
    return "1 value" if most == 1 else f"{most:,} values"


def samples_text(rows: Histograms) -> str:
    """Return at how many steps there is a sample, and at which."""
    if len(rows) == 1:
        return f"1 sampled step ({int(rows.step[0]):,})"
    return f"{len(rows):,} sampled steps ({int(rows.step[0]):,} to {int(rows.step[-1]):,})"


def bins_text(rows: Histograms) -> str:
    """Return how wide the widest of the bins is, of the values in it.

    >>> from explorer.storage.bins import histogram_of
    >>> bins_text(histogram_of([1.0, 2.0]))
    'bins at most 0.78 % wide'
    """
    return f"bins at most {100 / 2 ** int(rows.m.min(initial=7)):.2g} % wide"


def heat_text(num_rows: int, num_samples: int, num_columns: int) -> str:
    """Return what the colours of a heat map of so many rows and at most so many columns tell.

    >>> heat_text(240, 30, 800)
    'colour: share of the finite values in each of 240 rows, bins within a row added up'
    """
    told = f"colour: share of the finite values in each of {num_rows} rows, bins within a row added up"
    # A picture that would be too large has a quarter of the columns at the least.
    if num_samples > num_columns // 4:
        told += "; of steps closer than pixels the largest share, so no step is hidden"
    return told


def counts_text(rows: Histograms, k: int) -> str:
    """Return how many values of a sample are NaN, infinite and exactly zero.

    >>> from explorer.storage.bins import histogram_of
    >>> counts_text(histogram_of([0.0, float("nan"), 1.0]), 0)
    '1 NaN, 0 Inf, 1 zero'
    """
    return f"{int(rows.nans[k]):,} NaN, {int(rows.infs[k]):,} Inf, {int(rows.zeros[k]):,} zero"


def totals_text(rows: Histograms) -> str:
    """Return how many values of all samples are NaN, infinite and exactly zero.

    >>> from explorer.storage.bins import histogram_of
    >>> totals_text(histogram_of([0.0, float("nan"), 1.0])), totals_text(histogram_of([1.0]))
    ('1 NaN, 0 Inf, 1 exact zero in all samples', 'no NaN, Inf or exact zero in any sample')
    """
    nans, infs, zeros = (int(part.sum()) for part in (rows.nans, rows.infs, rows.zeros))
    if not nans + infs + zeros:
        return "no NaN, Inf or exact zero in any sample"
    return f"{nans:,} NaN, {infs:,} Inf, {zeros:,} exact {'zero' if zeros == 1 else 'zeros'} in all samples"


def nothing_finite(rows: Histograms) -> str:
    """Return what to say of rows none of whose values is finite."""
    if not rows.n.any():
        return "The tensor has no elements. There is nothing to draw."
    nans, infs = int(rows.nans.sum()), int(rows.infs.sum())
    return f"No value is finite at any of these steps: {nans:,} NaN and {infs:,} Inf. There is nothing to draw."


def num_finite(rows: Histograms) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how many values of each sample are finite."""
    return rows.n - rows.nans - rows.infs
