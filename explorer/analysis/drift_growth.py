"""The drift of a run that is still recording: what was computed stays, new steps are added."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
import numpy.typing as npt

from explorer.analysis.drift import Before, DriftMatrix, Measure, Reference, Wanted, drift_matrices
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
        reference: Reference,
    ) -> DriftMatrix:
        """Return the same as `drift_matrix`, but for rounding.

        Only what is new, or is compared with something else than before, is computed.
        """
        return grow([(self, reference)], tensors)[0]


def grow(wanted: Sequence[tuple[GrowingDrift, Reference]], tensors: Mapping[str, Histograms]) -> list[DriftMatrix]:
    """Return what `GrowingDrift.matrix` returns of each, for the same tensors; what they share is made once.

    No growing drift may be there twice.
    """
    rows = {name: _marks(h) for name, h in tensors.items()}
    others = [
        {name: _marks(h) for name, h in reference.items()} if isinstance(reference, Mapping) else rows
        for _, reference in wanted
    ]
    with ExitStack() as locks:
        for growing in sorted((growing for growing, _ in wanted), key=id):  # in the same order everywhere
            locks.enter_context(growing._lock)
        same = _Same()
        asked = []
        for (growing, reference), other in zip(wanted, others, strict=True):
            before = None
            if growing._matrix is not None:
                num_rows, num_others = same.of(growing._rows, rows), same.of(growing._reference_rows, other)
                before = Before(growing._matrix, num_rows, num_others)
            asked.append(Wanted(reference, growing._measure, growing._levels, before))
        found = drift_matrices(tensors, asked)
        for (growing, _), other, matrix in zip(wanted, others, found, strict=True):
            growing._matrix, growing._rows, growing._reference_rows = matrix, rows, other
        return found


def _marks(h: Histograms) -> Marks:
    return tuple(getattr(h, name) for name in _MARKS)


class _Same:
    """How many leading rows are as they were, of tensors before and now; the same question is answered once."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], dict[str, int]] = {}

    def of(self, before: Mapping[str, Marks], now: Mapping[str, Marks]) -> dict[str, int]:
        """That of each tensor of now."""
        key = (id(before), id(now))
        if key not in self._found:
            self._found[key] = {name: _num_same(before.get(name, ()), marks) for name, marks in now.items()}
        return self._found[key]


def _num_same(before: Marks, now: Marks) -> int:
    """How many leading rows are as they were."""
    num = min(len(before[0]), len(now[0])) if before else 0
    for old, new in zip(before, now, strict=False):
        # By their bits, for which NaN is itself.
        differs = old[:num].view(np.int64) != new[:num].view(np.int64)
        if differs.any():
            num = int(differs.argmax())
    return num
