"""Drift: how far the distributions of the tensors of a model are from a reference, at every step.

Each distance comes with its chance level; see `row_drift`. A distribution tells nothing of movement within it: a
permuted weight matrix has no drift. See `movement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.analysis.drift_history import HistoryAlarm, history_alarm
from explorer.analysis.row_drift import (
    MEASURES,
    Drift,
    Measure,
    drift_of_pairs,
    drift_over_steps,
    js_distance,
    ks,
    psi,
    wasserstein,
)
from explorer.analysis.shared_bins import Scratch
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
            (values, null, absolute), drift_of_pairs(h, other, index, measure, scratch, levels), strict=True
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
