"""The drift of every layer of a run: the matrix, its ranking, and which changes are unusual for their layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from explorer.analysis.drift import DriftMatrix, Measure
from explorer.analysis.drift_growth import GrowingDrift, grow
from explorer.analysis.drift_history import GrowingAlarm
from explorer.app.caching import tensor_store
from explorer.app.distributions_data import kept
from explorer.app.drift_choices import CHANGED, RUN, STEP, DriftChoices
from explorer.app.names import matching, unique_labels

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms
    from explorer.reading.catalogue import RunInfo

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Reference: TypeAlias = "Literal['first', 'previous'] | int | Mapping[str, Histograms]"


@dataclass(frozen=True, eq=False)
class Drifted:
    """The drift of all tensors of one kind of a run.

    Attributes:
        names: of the tensors, in the order of the model.
        labels: `names` made safe to show, unique.
        num_values: of each tensor at its last sample.
        matrix: values and chance levels; rows as in `names`.
        measure: which distance it is.
        alarms: bool `[tensors, steps]`, changes since the step before that are unusual for their layer.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    num_values: tuple[int, ...]
    matrix: DriftMatrix
    measure: Measure
    alarms: Booleans

    @property
    def num_bytes(self) -> int:
        """Memory that the matrix takes."""
        return 4 * self.matrix.values.nbytes

    def largest(self, row: int) -> int | None:
        """Return the column of a tensor's largest drift, None where it has none."""
        values = self.matrix.values[row]
        return int(np.nanargmax(values)) if np.isfinite(values).any() else None

    def last(self, row: int) -> int | None:
        """Return the last column in which a tensor has a drift, None where it has none."""
        known = np.flatnonzero(np.isfinite(self.matrix.values[row]))
        return int(known[-1]) if len(known) else None


def drifted(info: RunInfo, other: RunInfo | None, choices: DriftChoices, step: int | None) -> Drifted | None:
    """Return the drift of the run's tensors; None when none of the kind was recorded.

    Args:
        info: the run.
        other: the run compared with, when that is the reference.
        choices: kind, measure and reference.
        step: the step compared with, when that is the reference.
    """
    tensors = _tensors(info, choices.kind)
    if not tensors:
        return None
    others = tensors if other is None else _tensors(other, choices.kind)
    reference: Reference
    if choices.reference == RUN:
        reference = others
    elif choices.reference == STEP:
        reference = int(next(iter(tensors.values())).step[0]) if step is None else step
    else:
        reference = "previous" if choices.reference == "previous" else "first"
    key = (
        tuple(tensors.items()),
        tuple(others.items()) if other is not None else None,
        choices.measure,
        reference if isinstance(reference, str | int) else "run",
    )
    about = (str(info.path), choices.kind)
    against = (choices.reference, "" if other is None else str(other.path))
    return kept(("drift", key), lambda: _make(tensors, reference, choices.measure, about, against))


def rows_shown(found: Drifted, choices: DriftChoices) -> list[int]:
    """Return the rows of the matrix in the order they are shown, without those that the search leaves out."""
    names = set(matching(found.names, choices.search))
    rows = [row for row, name in enumerate(found.names) if name in names]
    if choices.order == CHANGED:
        rows.sort(key=lambda row: _score(found, row), reverse=True)
    return rows


def steps_of(info: RunInfo, kind: str) -> Ints:
    """Return the steps at which any tensor of the kind was sampled, ascending."""
    tensors = _tensors(info, kind)
    return np.unique(np.concatenate([rows.step for rows in tensors.values()])) if tensors else np.empty(0, np.int64)


def rows_of(info: RunInfo, name: str, kind: str) -> Histograms:
    """Return the histograms of one tensor of a run."""
    return tensor_store().histograms(info.path, name, kind)


def _tensors(info: RunInfo, kind: str) -> dict[str, Histograms]:
    """Histograms by name, in the order of the model, without tensors that have no sample yet."""
    store = tensor_store()
    order = [key.name for key in store.names(info.path) if key.kind == kind]
    found = store.histograms_of_kind(info.path, kind)
    return {name: found[name] for name in order if name in found and len(found[name])}


def _make(
    tensors: Mapping[str, Histograms],
    reference: Reference,
    measure: Measure,
    about: tuple[str, str],
    against: tuple[str, str],
) -> Drifted:
    """`about` names the tensors and `against` the reference: of what has grown, only what is new is computed."""
    drift = _Growing(("growing drift", about, measure, against), GrowingDrift(measure), reference)
    # Whatever is shown, a change is unusual by its distance from the step before.
    changes = _Growing(("growing changes", about), GrowingDrift("wasserstein", levels=False), "previous")
    made: list[DriftMatrix] = []

    def alarms_now() -> Booleans:
        matrix, distances = _grown([drift, changes], tensors)
        made.append(matrix)
        growing = kept(("growing alarms", about), GrowingAlarm)
        return growing.alarm(distances.values).alarm

    alarms = kept(("alarms", tuple(tensors.items())), alarms_now)
    matrix = made[0] if made else _grown([drift], tensors)[0]
    names = tuple(tensors)
    num_values = tuple(int(rows.n[-1]) for rows in tensors.values())
    return Drifted(names, tuple(unique_labels(names)), num_values, matrix, measure, alarms)


class _Growing(NamedTuple):
    """A drift that is wanted: the key at which it is kept, what is kept there if nothing is, and the reference."""

    key: tuple[object, ...]
    drift: GrowingDrift
    reference: Reference


def _grown(wanted: Sequence[_Growing], tensors: Mapping[str, Histograms]) -> list[DriftMatrix]:
    """The matrices of these drifts, made together; those that are not kept yet are then kept with their sizes."""
    chosen: list[tuple[GrowingDrift, Reference]] = []
    made: list[DriftMatrix] = []

    def choose(number: int) -> None:
        if number == len(wanted):
            made.extend(grow(chosen, tensors))
            return
        key, fresh, reference = wanted[number]

        def make() -> GrowingDrift:
            chosen.append((fresh, reference))
            choose(number + 1)
            return fresh

        found = kept(key, make)
        if not made:
            chosen.append((found, reference))
            choose(number + 1)

    choose(0)
    return made


def _score(found: Drifted, row: int) -> tuple[bool, float]:
    """What ranks a tensor: its largest drift; after all others where that is in another unit."""
    column = found.largest(row)
    if column is None:
        return False, -1.0
    return not found.matrix.absolute[row, column], float(found.matrix.values[row, column])


def cell_of(found: Drifted, rows: Sequence[int], name: str | None, step: int | None) -> tuple[int, int] | None:
    """Return the cell that is looked at: row and column of the matrix; None when nothing is shown.

    The tensor of that name, if it is shown, else the one that changed most; of it the step nearest to `step` at which
    it has a value, else the step of its largest one.
    """
    wanted = [row for row in rows if found.names[row] == name]
    row = wanted[0] if wanted else max(rows, key=lambda row: _score(found, row), default=None)
    if row is None:
        return None
    known = np.flatnonzero(np.isfinite(found.matrix.values[row]))
    if not len(known):
        return row, 0
    if step is None or not wanted:
        column = found.largest(row)
        return row, int(known[-1]) if column is None else column
    return row, int(known[np.argmin(np.abs(found.matrix.steps[known] - step))])
