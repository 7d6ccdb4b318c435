"""Statistics and histograms of a run's tensors, read once and read on as the run grows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

import pyarrow as pa

from explorer.reading.run_tensors import RunTensors, TensorKey
from explorer.storage.bins import Histograms, empty_histograms

__all__ = ["TensorKey", "TensorStore"]

DEFAULT_MAX_BYTES: Final = 1 << 30
# Looks at the same run that follow each other faster than this share one.
FRESH_S: Final = 0.2


class TensorStore:
    """All histograms and statistics that have been asked for, up to a number of bytes; the least recently used go.

    Of rows with the same step, name and kind the newest attempt's counts, within it that of the lowest rank.
    Thread-safe. Runs are read independently of each other.
    """

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_BYTES, fresh_s: float = FRESH_S) -> None:
        self._max_bytes, self._fresh_s = max_bytes, fresh_s
        self._lock = threading.Lock()
        self._runs: dict[str, RunTensors] = {}
        self._used: OrderedDict[tuple[RunTensors, tuple[str, str | None]], int] = OrderedDict()
        self._num_bytes = 0

    def names(self, run_path: str | Path) -> list[TensorKey]:
        """What was watched, sorted by kind and by the order of the model, or by name when that is not recorded."""
        return self._run(run_path).names(self._fresh_s)

    def statistics(self, run_path: str | Path, kind: str | None = None) -> pa.Table:
        """The statistics of one kind, or of all kinds.

        Returns:
            All columns but bins and counts, sorted by name, kind and step, a row for each of these. The same object as
            before when nothing was added. What is missing from it is told by `problems`.
        """
        run = self._run(run_path)
        found = run.statistics(kind, self._fresh_s)
        self._account(run, {("statistics", kind): found.nbytes})
        return found

    def histograms(self, run_path: str | Path, name: str, kind: str) -> Histograms:
        """The histograms of one tensor, by ascending step; none when it was not recorded."""
        run = self._run(run_path)
        found = run.histograms(kind, [name], self._fresh_s)
        self._account(run, {(kind, name): found[name].num_bytes if name in found else 0})
        return found.get(name) or empty_histograms()

    def histograms_of_kind(self, run_path: str | Path, kind: str) -> dict[str, Histograms]:
        """The histograms of all tensors of one kind, in the order of `names`."""
        run = self._run(run_path)
        order = [key.name for key in run.names(self._fresh_s) if key.kind == kind]
        found = run.histograms(kind, order, self._fresh_s)
        self._account(run, {(kind, name): each.num_bytes for name, each in found.items()})
        return {name: found[name] for name in order if name in found}

    def problems(self, run_path: str | Path) -> tuple[str, ...]:
        """Damaged files and gaps, by name and reason."""
        return self._run(run_path).problems(self._fresh_s)

    def _run(self, run_path: str | Path) -> RunTensors:
        with self._lock:
            return self._runs.setdefault(str(run_path), RunTensors(Path(run_path)))

    def _account(self, run: RunTensors, sizes: dict[tuple[str, str | None], int]) -> None:
        with self._lock:
            for key, num_bytes in sizes.items():
                self._num_bytes += num_bytes - self._used.pop((run, key), 0)
                self._used[run, key] = num_bytes
            while self._num_bytes > self._max_bytes and len(self._used) > 1:
                (other, key), freed = self._used.popitem(last=False)
                self._num_bytes -= freed
                other.drop(key)
