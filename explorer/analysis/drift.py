"""Drift: how far the distribution of a tensor is from a reference, at every step, and how far it would be by chance.

Two rows are compared at the smaller of their mantissa bits, where their bins are the same. Rows and reference may be of
different size. Every distance comes with its chance level (`null`): the 99 % point of what two independent samples of
those sizes from one distribution show. A distribution tells nothing of movement within it: a permuted weight matrix has
no drift. See `movement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.analysis import distances
from explorer.analysis.drift_history import HistoryAlarm, history_alarm
from explorer.analysis.quantiles import finite_counts
from explorer.analysis.shared_bins import PairedBlock, Scratch, shared_pairs
from explorer.storage.bins import Histograms

__all__ = [
    "MEASURES",
    "Before",
    "Drift",
    "DriftMatrix",
    "HistoryAlarm",
    "Measure",
    "drift_matrix",
    "drift_over_steps",
    "history_alarm",
    "js_distance",
    "ks",
    "psi",
    "wasserstein",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

Measure = Literal["wasserstein", "ks", "js_distance", "psi"]
MEASURES: Final[tuple[Measure, ...]] = ("wasserstein", "ks", "js_distance", "psi")


class Drift(NamedTuple):
    """Distances of n rows from their references.

    Attributes:
        values: float64[n]; NaN where the row or its reference has no finite value.
        null: float64[n], chance level (99 %) of each; NaN where the value is.
        absolute: bool[n], true where a Wasserstein distance could not be divided by the reference's standard deviation,
            because all its values are equal: it then has the unit of the values. False for other measures.
    """

    values: Floats
    null: Floats
    absolute: Booleans


def wasserstein(rows: Histograms, reference: Histograms) -> Drift:
    """Wasserstein-1 distance over the reference's standard deviation.

    It is never below the distance of the means, which are exact, and equal to it where the ranges do not overlap; a row
    of equal values is compared as the number it is. Otherwise it is off by the width of the bins at most: by 1 % for
    tensors whose values spread over many of them, by any factor where the standard deviation is below 0.5 % of a mean.

    Args:
        rows: n rows.
        reference: one row for all, or n rows.

    Raises:
        ValueError: the reference has another number of rows, or class labels are compared with a tensor.

    >>> from explorer.storage.bins import histogram_of
    >>> round(float(wasserstein(histogram_of([1.0, 2.0, 3.0]), histogram_of([0.0, 1.0, 2.0])).values[0]), 3)
    1.228
    """
    return drift_over_steps(rows, reference, "wasserstein")


def ks(rows: Histograms, reference: Histograms) -> Drift:
    """Kolmogorov-Smirnov distance, from 0 to 1: the largest difference of the two cumulative distributions.

    Taken at the edges of bins, so it never overstates; it is too small by the share of the fullest bin at most.
    Arguments and errors as for `wasserstein`.
    """
    return drift_over_steps(rows, reference, "ks")


def js_distance(rows: Histograms, reference: Histograms) -> Drift:
    """Jensen-Shannon distance, base 2 (from 0 to 1), over 20 groups that hold equal shares of the two together.

    Arguments and errors as for `wasserstein`.
    """
    return drift_over_steps(rows, reference, "js_distance")


def psi(rows: Histograms, reference: Histograms) -> Drift:
    """Population stability index over 10 groups that hold equal shares of the reference; shares are at least 1e-4.

    What moves within one bin does not show. Arguments and errors as for `wasserstein`.
    """
    return drift_over_steps(rows, reference, "psi")


def drift_over_steps(h: Histograms, reference: Histograms, measure: Measure) -> Drift:
    """Distance of each row of `h` from the reference: one row for all, or as many rows as `h` has.

    Raises:
        ValueError: the reference has another number of rows, the measure is unknown, or class labels are compared with
            a tensor.
    """
    if len(reference) == 1:
        return _drift(h, reference, np.zeros(len(h), np.int64), measure, Scratch())
    if len(reference) != len(h):
        raise ValueError(f"the reference has 1 row or as many as are compared ({len(h)}), got {len(reference)}")
    return _drift(h, reference, np.arange(len(h)), measure, Scratch())


class DriftMatrix(NamedTuple):
    """Drift of several tensors over the steps that any of them has.

    Attributes:
        names: the t tensors, in the order given.
        steps: int64[s], ascending.
        values, null, absolute: [t, s] as in `Drift`; NaN also where a tensor has no row or no reference at a step.
        reference_steps: int64[t, s], the step that each value is compared with; 0 where there is none.
    """

    names: tuple[str, ...]
    steps: Ints
    values: Floats
    null: Floats
    absolute: Booleans
    reference_steps: Ints


class Before(NamedTuple):
    """What is known of a run that has grown since; see `drift_growth`.

    Attributes:
        matrix: its drift then, of the same measure and the same kind of reference.
        num_rows: how many leading rows of each tensor are as they were then.
        num_reference_rows: the same of the tensors that they are compared with.
    """

    matrix: DriftMatrix
    num_rows: Mapping[str, int]
    num_reference_rows: Mapping[str, int]


def drift_matrix(
    tensors: Mapping[str, Histograms],
    reference: Literal["first", "previous"] | int | Mapping[str, Histograms],
    measure: Measure,
    *,
    levels: bool = True,
    before: Before | None = None,
) -> DriftMatrix:
    """Return the drift of every tensor at every step.

    Args:
        tensors: name to its rows, steps ascending.
        reference: `first` row of each tensor; `previous` row (the first one then has no value); a step (the row of that
            step, or the last before it); or the rows of another run by name. Of those the one of the same step counts,
            or the last before it; a single row counts for all steps.
        measure: which distance.
        levels: whether chance levels are wanted; they are NaN otherwise.
        before: values that need not be computed again.

    Raises:
        ValueError: measure or reference is unknown, or class labels are compared with a tensor.
    """
    steps = np.unique(np.concatenate([h.step for h in tensors.values()])) if tensors else np.empty(0, np.int64)
    shape = (len(tensors), len(steps))
    values, null = np.full(shape, np.nan), np.full(shape, np.nan)
    absolute, reference_steps = np.zeros(shape, bool), np.zeros(shape, np.int64)
    scratch = Scratch()
    for place, (name, h) in enumerate(tensors.items()):
        other = h if not isinstance(reference, Mapping) else reference.get(name)
        if other is None or not len(other):
            continue
        index = _reference_rows(h, other, reference)
        column = np.searchsorted(steps, h.step)
        reference_steps[place, column] = np.where(index >= 0, other.step[index], 0)
        if before is not None:
            known, old, at = _known(before, name, h, other, index)
            for now, then in zip((values, null, absolute), before.matrix[2:5], strict=True):
                now[place, column[known]] = then[old, at]
            index[known] = -1
            new = np.setdiff1d(np.arange(len(h)), known, assume_unique=True)
        else:
            new = np.arange(len(h))
        for now, computed in zip(
            (values, null, absolute), _drift(h, other, index, measure, scratch, levels), strict=True
        ):
            now[place, column[new]] = computed[new]
    return DriftMatrix(tuple(tensors), steps, values, null, absolute, reference_steps)


def _known(before: Before, name: str, h: Histograms, other: Histograms, index: Ints) -> tuple[Ints, int, Ints]:
    """Rows whose distance is known, and where in the matrix of before: rows int64[k], its line, columns int64[k]."""
    none = np.empty(0, np.int64)
    if name not in before.matrix.names:
        return none, 0, none
    line = before.matrix.names.index(name)
    rows = np.arange(before.num_rows.get(name, 0))
    rows = rows[(index[rows] >= 0) & (index[rows] < before.num_reference_rows.get(name, 0))]
    column = np.searchsorted(before.matrix.steps, h.step[rows])
    same = before.matrix.reference_steps[line, column] == other.step[index[rows]]
    return rows[same], line, column[same]


def _reference_rows(h: Histograms, other: Histograms, reference: object) -> Ints:
    """Row of `other` that each row of `h` is compared with, -1 for none."""
    if reference == "previous":
        return np.arange(-1, len(h) - 1)
    if reference == "first" or (isinstance(reference, Mapping) and len(other) == 1):
        return np.zeros(len(h), np.int64)
    if isinstance(reference, Mapping):
        return np.searchsorted(other.step, h.step, side="right") - 1
    if isinstance(reference, int | np.integer):
        return np.full(len(h), np.searchsorted(other.step, reference, side="right") - 1)
    raise ValueError(f"the reference is 'first', 'previous', a step or the tensors of a run, got {reference!r}")


def _drift(
    rows: Histograms, reference: Histograms, index: Ints, measure: Measure, scratch: Scratch, levels: bool = True
) -> Drift:
    """Distance of each row from row `index` (int64[n], -1 for none) of the reference."""
    if measure not in MEASURES:
        raise ValueError(f"the measure is one of {', '.join(MEASURES)}, got {measure!r}")
    left = np.flatnonzero(index >= 0)
    right = index[left]
    size, other_size = _sizes(rows, left), _sizes(reference, right)
    some = np.flatnonzero((size > 0) & (other_size > 0))
    left, right, size, other_size = left[some], right[some], size[some], other_size[some]
    value, groups = np.zeros(len(left)), np.zeros(len(left), np.int64)
    for block in shared_pairs(rows, reference, left, right, scratch):
        value[block.pairs], groups[block.pairs] = _distances(block, measure)
    constant = np.zeros(len(left), bool)
    if measure == "wasserstein":
        value = _with_exact_parts(rows, reference, left, right, value)
        spread = _spreads(reference, right) if levels else np.full(len(right), np.nan)
        constant = reference.min[right] == reference.max[right]
        unit = np.where(constant, 1.0, reference.std[right])
        value, null = value / unit, distances.wasserstein_by_chance(size, other_size, spread) / unit
    elif measure == "psi":
        null = distances.psi_by_chance(size, other_size, groups)
    else:
        value = np.where(_apart(rows, reference, left, right), 1.0, value)
        by_groups = measure == "js_distance"
        null = (
            distances.js_by_chance(size, other_size, groups) if by_groups else distances.ks_by_chance(size, other_size)
        )
    found = Drift(np.full(len(rows), np.nan), np.full(len(rows), np.nan), np.zeros(len(rows), bool))
    found.values[left], found.absolute[left] = value, constant
    if levels:
        found.null[left] = null
    return found


def _sizes(h: Histograms, rows: Ints) -> Ints:
    """Finite values of some rows: int64, as long as `rows`."""
    start, stop = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
    return finite_counts(h, start, stop)[rows - start]


def _spreads(reference: Histograms, rows: Ints) -> Floats:
    """What the chance level of the Wasserstein distance needs of each row: float64, as long as `rows`."""
    used, place = np.unique(rows, return_inverse=True)
    if 2 * len(used) > len(reference):  # then copying them costs more than the others do
        return distances.bridge_areas(reference)[rows]
    return distances.bridge_areas(reference.take(used))[place]


def _distances(block: PairedBlock, measure: Measure) -> tuple[Floats, Ints | int]:
    """Distance and number of groups of each pair."""
    if measure == "wasserstein":
        return distances.wasserstein_distances(block.rows, block.reference, block.low, block.high), 0
    if measure == "ks":
        return distances.ks_distances(block.rows, block.reference), 0
    if measure == "js_distance":
        return distances.js_distances(block.rows, block.reference)
    return distances.psi_distances(block.rows, block.reference)


def _apart(rows: Histograms, reference: Histograms, left: Ints, right: Ints) -> Booleans:
    """Whether all values of one are below all values of the other, even within one bin."""
    apart: Booleans = (rows.min[left] > reference.max[right]) | (rows.max[left] < reference.min[right])
    return apart


def _with_exact_parts(rows: Histograms, reference: Histograms, left: Ints, right: Ints, area: Floats) -> Floats:
    """The Wasserstein distance by bins, corrected with what is known exactly: mean, minimum and maximum."""
    between_means = np.abs(rows.mean[left] - reference.mean[right])
    apart = _apart(rows, reference, left, right)
    area = np.where(apart, between_means, area)
    row_constant = rows.min[left] == rows.max[left]
    constant = reference.min[right] == reference.max[right]
    for one, spread, which, point in (
        (row_constant & ~constant & ~apart, reference, right, rows.min[left]),
        (constant & ~row_constant & ~apart, rows, left, reference.min[right]),
    ):
        if one.any():
            area[one] = distances.distances_to_a_point(spread.take(which[one]), point[one])
    # Of any two distributions W1 is at least the first and, as W1 <= W2, at most the second.
    most = np.hypot(between_means, rows.std[left] + reference.std[right])
    return np.clip(area, between_means, np.maximum(most, between_means))
