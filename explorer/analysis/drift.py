"""Drift: how far the distributions of the tensors of a model are from a reference, at every step.

Each distance comes with its chance level; see `row_drift`. A distribution tells nothing of movement within it: a
permuted weight matrix has no drift. See `movement`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from explorer.analysis.drift_history import HistoryAlarm, history_alarm
from explorer.analysis.row_drift import (
    MEASURES,
    Drift,
    Measure,
    Question,
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
    "Reference",
    "Wanted",
    "drift_matrices",
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
Reference: TypeAlias = Literal["first", "previous"] | int | Mapping[str, Histograms]


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


class Wanted(NamedTuple):
    """A drift of all tensors of a run that is asked for; as the arguments of `drift_matrix`."""

    reference: Reference
    measure: Measure
    levels: bool = True
    before: Before | None = None


def drift_matrix(
    tensors: Mapping[str, Histograms],
    reference: Reference,
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
    return drift_matrices(tensors, [Wanted(reference, measure, levels, before)])[0]


def drift_matrices(tensors: Mapping[str, Histograms], wanted: Sequence[Wanted]) -> list[DriftMatrix]:
    """Return several drifts of the same tensors, each the same as from `drift_matrix` but for rounding.

    What is made of the rows of a tensor is made once for all of them, which is most of the work.

    Raises:
        ValueError: as `drift_matrix`.
    """
    steps = np.unique(np.concatenate([h.step for h in tensors.values()])) if tensors else np.empty(0, np.int64)
    matrices = [_empty(tuple(tensors), steps) for _ in wanted]
    lines = [{} if one.before is None else _line_of(one.before) for one in wanted]
    scratch = Scratch()
    for place, (name, h) in enumerate(tensors.items()):
        column = np.searchsorted(steps, h.step)
        asked: list[tuple[DriftMatrix, Ints, Question]] = []
        for one, matrix, line in zip(wanted, matrices, lines, strict=True):
            other = h if not isinstance(one.reference, Mapping) else one.reference.get(name)
            if other is None or not len(other):
                continue
            index = _reference_rows(h, other, one.reference)
            matrix.reference_steps[place, column] = np.where(index >= 0, other.step[index], 0)
            is_new = np.ones(len(h), bool)
            if one.before is not None and name in line:
                known, at = _known(one.before, name, line[name], h, other, index)
                to, of = _slice(column[known]), _slice(at)
                for now, then in zip(matrix[2:5], one.before.matrix[2:5], strict=True):
                    now[place, to] = then[line[name], of]
                is_new[known], index[known] = False, -1
            asked.append((matrix, np.flatnonzero(is_new), Question(other, index, one.measure, one.levels)))
        computed = drift_of_pairs(h, [question for _, _, question in asked], scratch)
        for (matrix, new, _), found in zip(asked, computed, strict=True):
            to, of = _slice(column[new]), _slice(new)
            for now, values in zip(matrix[2:5], found, strict=True):
                now[place, to] = values[of]
    return matrices


def _slice(places: Ints) -> Ints | slice:
    """The same places as a slice, where they are neighbours: that is copied ten times as fast."""
    if len(places) and (places[1:] - places[:-1] == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _empty(names: tuple[str, ...], steps: Ints) -> DriftMatrix:
    shape = (len(names), len(steps))
    values, null = np.full(shape, np.nan), np.full(shape, np.nan)
    return DriftMatrix(names, steps, values, null, np.zeros(shape, bool), np.zeros(shape, np.int64))


def _line_of(before: Before) -> dict[str, int]:
    return {name: line for line, name in enumerate(before.matrix.names)}


def _known(before: Before, name: str, line: int, h: Histograms, other: Histograms, index: Ints) -> tuple[Ints, Ints]:
    """Rows whose distance is known, and their columns in the matrix of before: int64[k] both."""
    rows = np.arange(before.num_rows.get(name, 0))
    rows = rows[(index[rows] >= 0) & (index[rows] < before.num_reference_rows.get(name, 0))]
    column = np.searchsorted(before.matrix.steps, h.step[rows])
    same = before.matrix.reference_steps[line, column] == other.step[index[rows]]
    return rows[same], column[same]


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
