"""The drift of a run that is still recording: what was computed stays, new steps are added."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from explorer.analysis.drift import Before, DriftMatrix, Measure, drift_matrix
from explorer.storage.bins import Histograms

Marks = tuple[npt.NDArray[np.generic], ...]
# Two rows of a step whose exact moments and counts are all equal are the same row.
_MARKS: Final = ("step", "n", "nans", "zeros", "mean", "std", "min", "max")


class GrowingDrift:
    """The drift of the tensors of one run by one measure from one kind of reference. Thread-safe.

    It holds no histograms: 64 bytes of each row, by which it knows the row again.
    """

    def __init__(self, measure: Measure, *, levels: bool = True) -> None:
        self._measure, self._levels = measure, levels
        self._lock = threading.Lock()
        self._matrix: DriftMatrix | None = None
        self._rows: dict[str, Marks] = {}
        self._reference_rows: dict[str, Marks] = {}

    @property
    def num_bytes(self) -> int:
        """Memory that it takes, the matrix of the last time included."""
        matrix = [] if self._matrix is None else self._matrix[1:]
        others = {} if self._reference_rows is self._rows else self._reference_rows
        marks = [part for held in (self._rows, others) for marks in held.values() for part in marks]
        return sum(part.nbytes for part in (*matrix, *marks))

    def matrix(
        self,
        tensors: Mapping[str, Histograms],
        reference: Literal["first", "previous"] | int | Mapping[str, Histograms],
    ) -> DriftMatrix:
        """Return the same as `drift_matrix`, but for rounding.

        Only what is new, or is compared with something else than before, is computed.
        """
        rows = {name: _marks(h) for name, h in tensors.items()}
        others = {name: _marks(h) for name, h in reference.items()} if isinstance(reference, Mapping) else rows
        with self._lock:
            before = None
            if self._matrix is not None:
                before = Before(self._matrix, _num_same(self._rows, rows), _num_same(self._reference_rows, others))
            self._matrix = drift_matrix(tensors, reference, self._measure, levels=self._levels, before=before)
            self._rows, self._reference_rows = rows, others
            return self._matrix


def _marks(h: Histograms) -> Marks:
    return tuple(getattr(h, name) for name in _MARKS)


def _num_same(before: Mapping[str, Marks], now: Mapping[str, Marks]) -> dict[str, int]:
    """How many leading rows of each tensor are as they were."""
    found = {}
    for name, marks in now.items():
        num = min(len(before[name][0]), len(marks[0])) if name in before else 0
        differs = np.zeros(num, bool)
        for old, new in zip(before.get(name, ()), marks, strict=False):
            one, other = old[:num], new[:num]
            differs |= (one != other) & ~((one != one) & (other != other))  # NaN is itself
        found[name] = int(differs.argmax()) if differs.any() else num
    return found
