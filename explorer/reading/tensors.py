"""Statistics and histograms of a run's tensors, read once and read on as the run grows."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa

from explorer.errors import FileError
from explorer.reading.model_record import read_model
from explorer.reading.tensor_pieces import (
    STATISTICS,
    Range,
    joined,
    newest,
    newest_statistics,
    ranges_of,
    read_histograms,
    read_statistics,
)
from explorer.storage.bins import Histograms, empty_histograms
from explorer.storage.layout import TENSORS, SegmentFile, list_gaps, list_segments
from explorer.storage.tensor_files import TensorSegment, TensorSpan, open_tensor_segment
from explorer.storage.tensor_rows import SCHEMA

__all__ = ["TensorKey", "TensorStore"]

DEFAULT_MAX_BYTES: Final = 1 << 30
# Looks at the same run that follow each other faster than this share one.
FRESH_S: Final = 0.2
# Rows whose histograms are in memory twice while those of a whole kind are put together; about 4 kB each.
_BATCH_ROWS: Final = 40_000
_NUM_TRIES: Final = 4

Identity = tuple[int, int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class TensorKey:
    """A tensor that was watched.

    Attributes:
        name: fully qualified name.
        kind: `param`, `grad`, `update`, `activation` or `labels`.
        num_samples: steps at which it was recorded. Where attempts overlap, a step that several have counts for each.
        first_step, last_step: the smallest and the largest of them.
    """

    name: str
    kind: str
    num_samples: int
    first_step: int
    last_step: int


class TensorStore:
    """All histograms and statistics that have been asked for, up to a number of bytes; the least recently used go.

    Of rows with the same step, name and kind the newest attempt's counts, within it that of the lowest rank.
    Thread-safe. Runs are read independently of each other.
    """

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_BYTES, fresh_s: float = FRESH_S) -> None:
        self._max_bytes, self._fresh_s = max_bytes, fresh_s
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._used: OrderedDict[tuple[_Run, Any], int] = OrderedDict()
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

    def _run(self, run_path: str | Path) -> _Run:
        with self._lock:
            return self._runs.setdefault(str(run_path), _Run(Path(run_path)))

    def _account(self, run: _Run, sizes: dict[tuple[str, str | None], int]) -> None:
        with self._lock:
            for key, num_bytes in sizes.items():
                self._num_bytes += num_bytes - self._used.pop((run, key), 0)
                self._used[run, key] = num_bytes
            while self._num_bytes > self._max_bytes and len(self._used) > 1:
                (other, key), freed = self._used.popitem(last=False)
                self._num_bytes -= freed
                other.drop(key)


@dataclass
class _Known:
    """A segment as it was seen last."""

    file: SegmentFile
    spans: tuple[TensorSpan, ...] = ()
    problem: str | None = None


@dataclass
class _Rows:
    """Rows of one tensor in the order in which they count, and which file each came from."""

    rows: Histograms = field(default_factory=empty_histograms)
    taken: list[tuple[Identity, int]] = field(default_factory=list)
    """(identity of a file, rows up to its end)."""
    shown: Histograms = field(default_factory=empty_histograms)


class _Run:
    """The segments of one run. Every public method takes its lock."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = threading.RLock()
        self._looked: float | None = None
        self._known: dict[Path, _Known] = {}
        self._segments: list[_Known] = []
        self._identities: list[Identity] = []
        self._gaps: list[str] = []
        self._tensors: dict[tuple[str, str], _Rows] = {}
        self._statistics: dict[str | None, tuple[list[Identity], pa.Table]] = {}

    def names(self, fresh_s: float) -> list[TensorKey]:
        with self._lock:
            self._look(fresh_s)
            spans: dict[tuple[str, str], list[TensorSpan]] = {}
            for known in self._segments:
                for span in known.spans:
                    spans.setdefault((span.kind, span.name), []).append(span)
        keys = [
            TensorKey(
                name,
                kind,
                sum(span.num_rows for span in found),
                min(span.first_step for span in found),
                max(span.last_step for span in found),
            )
            for (kind, name), found in spans.items()
        ]
        model = read_model(self._run_dir)
        order = {} if model is None else model.order
        return sorted(keys, key=lambda key: (key.kind, order.get((key.kind, key.name), len(order)), key.name))

    def problems(self, fresh_s: float) -> tuple[str, ...]:
        with self._lock:
            self._look(fresh_s)
            return self._problems()

    def _problems(self) -> tuple[str, ...]:
        return (*self._gaps, *(known.problem for known in self._segments if known.problem))

    def drop(self, key: tuple[str, str | None]) -> None:
        """Let go of what was read; what was handed out stays valid."""
        kind, name = key
        with self._lock:
            if kind == "statistics":
                self._statistics.pop(name, None)
            elif name is not None:
                self._tensors.pop((kind, name), None)

    def statistics(self, kind: str | None, fresh_s: float) -> pa.Table:
        with self._lock:
            return self._with_looks(fresh_s, lambda: self._all_statistics(kind))

    def histograms(self, kind: str, names: Sequence[str], fresh_s: float) -> dict[str, Histograms]:
        with self._lock:
            return self._with_looks(fresh_s, lambda: self._all_histograms(kind, names))

    def _with_looks(self, fresh_s: float, work: Callable[[], T]) -> T:
        """Do it with the files as they are; once more when one was replaced meanwhile."""
        self._look(fresh_s)
        for _ in range(_NUM_TRIES):
            try:
                return work()
            except _Replaced:
                self._looked = None
                self._look(0.0)
        return work()

    def _all_statistics(self, kind: str | None) -> pa.Table:
        before = self._statistics.get(kind)
        if before is not None and before[0] == self._identities:
            return before[1]
        tables, spans = [], []
        for known in self._segments:
            wanted = [span for span in known.spans if kind is None or span.kind == kind]
            table = _read(known, wanted, partial(read_statistics, kind=kind))
            if table is not None:
                tables.append(table)
                spans.append(wanted)
        found = newest_statistics(tables, spans) if tables else SCHEMA.empty_table().select(list(STATISTICS))
        self._statistics[kind] = (self._identities, found)
        return found

    def _all_histograms(self, kind: str, names: Sequence[str]) -> dict[str, Histograms]:
        wanted = {name: self._tensors.get((kind, name)) or _Rows() for name in names}
        new = {name: same for name, rows in wanted.items() if (same := self._num_same(rows)) is not None}
        for batch in self._batches(kind, new):
            self._read_on(kind, {name: wanted[name] for name in batch}, new)
        found = {name: rows for name, rows in wanted.items() if len(rows.rows)}
        self._tensors |= {(kind, name): rows for name, rows in found.items()}
        return {name: rows.shown for name, rows in found.items()}

    def _num_same(self, rows: _Rows) -> int | None:
        """How many of the files that rows were taken from are as they were; None when nothing is new."""
        taken = [identity for identity, _ in rows.taken]
        if taken == self._identities:
            return None
        same = 0
        for one, other in zip(taken, self._identities, strict=False):
            if one != other:
                break
            same += 1
        return same

    def _batches(self, kind: str, names: dict[str, int]) -> list[list[str]]:
        """The names in parts of about 40,000 rows, neighbours in the files."""
        num_rows: dict[str, int] = dict.fromkeys(sorted(names), 0)
        for known in self._segments:
            for span in known.spans:
                if span.kind == kind and span.name in num_rows:
                    num_rows[span.name] += span.num_rows
        batches: list[list[str]] = []
        total = _BATCH_ROWS
        for name, num in num_rows.items():
            if total + num > _BATCH_ROWS:
                batches.append([])
                total = 0
            batches[-1].append(name)
            total += num
        return batches

    def _read_on(self, kind: str, tensors: dict[str, _Rows], same: dict[str, int]) -> None:
        """Read what is new of these tensors; `same` tells how many files of each need not be read again."""
        first = min(same[name] for name in tensors)
        new: dict[str, list[Range]] = {name: [] for name in tensors}
        num_new: dict[str, list[int]] = {name: [] for name in tensors}
        for at, known in enumerate(self._segments[first:], first):
            spans = [span for span in known.spans if span.kind == kind and span.name in tensors]
            spans = [span for span in spans if same[span.name] <= at]
            names = {span.name for span in spans}
            found = _read(known, spans, partial(read_histograms, kind=kind, names=names))
            ranges = {} if found is None else ranges_of(spans, found)
            for name in tensors:
                if same[name] <= at:
                    new[name] += [ranges[name]] if name in ranges else []
                    num_new[name].append(ranges[name][2] - ranges[name][1] if name in ranges else 0)
        for name, rows in tensors.items():
            kept = rows.taken[same[name] - 1][1] if same[name] else 0
            parts: list[Range] = [(rows.rows, 0, kept), *new[name]] if kept else new[name]
            totals = (kept + np.cumsum(num_new[name])).tolist()
            rows.taken = [*rows.taken[: same[name]], *zip(self._identities[same[name] :], totals, strict=True)]
            rows.rows = joined(parts) if parts else empty_histograms()
            rows.shown = newest(rows.rows)

    def _look(self, fresh_s: float) -> None:
        now = time.monotonic()
        if self._looked is not None and now - self._looked < fresh_s:
            return
        self._looked = now
        files = [file for file in list_segments(self._run_dir, TENSORS) if file.name.kind == "segment"]
        self._gaps = [f"{TENSORS}: {gap}" for gap in list_gaps(files)]
        before, self._known = self._known, {}
        for file in files:
            known = before.get(file.path)
            if known is None or known.file.identity != file.identity:
                known = _look_into(file)
            self._known[file.path] = known
        # What comes later counts more: a newer attempt, and of one attempt a lower rank.
        self._segments = sorted(
            self._known.values(), key=lambda k: (k.file.name.attempt, -k.file.name.rank, k.file.name.segment)
        )
        self._identities = [known.file.identity for known in self._segments]


class _Replaced(Exception):
    """A segment is not the one that was looked into: it has grown, or is gone."""


def _look_into(file: SegmentFile) -> _Known:
    try:
        with open_tensor_segment(file.path) as segment:
            return _Known(file, tuple(segment.tensors))
    except FileError as error:
        return _Known(file, problem=f"{file.path.name}: {error.reason}")
    except FileNotFoundError:
        return _Known(file, problem=f"{file.path.name}: is gone")


def _read(known: _Known, spans: Sequence[TensorSpan], read: Callable[[TensorSegment], T]) -> T | None:
    """What `read` makes of a segment; None when it has none of these rows, or is damaged. Raises _Replaced."""
    if not spans:
        return None
    try:
        with open_tensor_segment(known.file.path) as segment:
            if tuple(segment.tensors) != known.spans:
                raise _Replaced
            return read(segment)
    except FileError as error:
        known.problem = f"{known.file.path.name}: {error.reason}"
        return None
    except FileNotFoundError as error:
        raise _Replaced from error
