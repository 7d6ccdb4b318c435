"""The tensors of one run: its segments, and what has been read of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

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

# Rows whose histograms are in memory twice while those of a whole kind are put together; about 4 kB each.
_BATCH_ROWS: Final = 40_000

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


class _Known:
    """A segment as it was seen last.

    Attributes:
        file: as it was when it was read last; the last segment of a process grows.
        spans: what it holds; none when it cannot be read.
        problem: why not.
    """

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.spans: list[TensorSpan] = []
        self.problem: str | None = None
        self._opened: TensorSegment | None = None
        self._open_and(lambda segment: None)

    def read(
        self, is_wanted: Callable[[TensorSpan], bool], read: Callable[[TensorSegment], T]
    ) -> tuple[list[TensorSpan], T] | None:
        """The spans that are wanted and what is read; None when there are none or the file is damaged."""
        before = self.spans
        wanted = [span for span in before if is_wanted(span)]
        if not wanted:
            return None
        found = self._open_and(read)
        if self.spans is not before:
            wanted = [span for span in self.spans if is_wanted(span)]
        return None if found is None else (wanted, found)

    def _open_and(self, read: Callable[[TensorSegment], T]) -> T | None:
        try:
            with open_tensor_segment(self.file.location, self._opened) as segment:
                self._opened = segment
                size, mtime_ns, inode = segment.identity
                self.file = self.file._replace(size=size, mtime_ns=mtime_ns, inode=inode)
                self.spans = segment.tensors
                return read(segment)
        except FileError as error:
            self.problem = f"{self.file.path.name}: {error.reason}"
        except FileNotFoundError:
            self.problem = f"{self.file.path.name}: is gone"
        self.spans = []
        return None


@dataclass
class _Rows:
    """Rows of one tensor in the order in which they count, and which file each came from."""

    rows: Histograms = field(default_factory=empty_histograms)
    taken: list[tuple[Identity, int]] = field(default_factory=list)
    """(identity of a file, rows up to its end)."""
    shown: Histograms = field(default_factory=empty_histograms)


class RunTensors:
    """See the module. Every public method takes the lock of the run; `fresh_s` is how old the last look may be."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = threading.RLock()
        self._looked: float | None = None
        self._known: dict[Path, _Known] = {}
        self._segments: list[_Known] = []
        self._gaps: list[str] = []
        self._tensors: dict[tuple[str, str], _Rows] = {}
        self._statistics: dict[str | None, tuple[list[Identity], pa.Table]] = {}

    def names(self, fresh_s: float) -> list[TensorKey]:
        """See `TensorStore.names`."""
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
        """See `TensorStore.problems`."""
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
        """See `TensorStore.statistics`."""
        with self._lock:
            self._look(fresh_s)
            before = self._statistics.get(kind)
            if before is not None and before[0] == self._identities():
                return before[1]
            tables, spans = [], []
            for known in self._segments:
                found = known.read(lambda span: kind in (None, span.kind), partial(read_statistics, kind=kind))
                if found is not None:
                    tables.append(found[1])
                    spans.append(found[0])
            table = newest_statistics(tables, spans) if tables else SCHEMA.empty_table().select(list(STATISTICS))
            self._statistics[kind] = (self._identities(), table)
            return table

    def histograms(self, kind: str, names: Sequence[str], fresh_s: float) -> dict[str, Histograms]:
        """The histograms of some tensors of a kind; those that were not recorded are left out."""
        with self._lock:
            self._look(fresh_s)
            wanted = {name: self._tensors.get((kind, name)) or _Rows() for name in names}
            new = {name: same for name, rows in wanted.items() if (same := self._num_same(rows)) is not None}
            for batch in self._batches(kind, new):
                self._read_on(kind, {name: wanted[name] for name in batch}, new)
            found = {name: rows for name, rows in wanted.items() if len(rows.rows)}
            self._tensors |= {(kind, name): rows for name, rows in found.items()}
            return {name: rows.shown for name, rows in found.items()}

    def _identities(self) -> list[Identity]:
        return [known.file.identity for known in self._segments]

    def _num_same(self, rows: _Rows) -> int | None:
        """How many of the files that rows were taken from are as they were; None when nothing is new."""
        taken, now = [identity for identity, _ in rows.taken], self._identities()
        if taken == now:
            return None
        same = 0
        for one, other in zip(taken, now, strict=False):
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
        total = 0
        for name, num in num_rows.items():
            if not batches or total + num > _BATCH_ROWS:
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
            names = {name for name in tensors if same[name] <= at}
            found = known.read(
                partial(_is_one_of, kind=kind, names=names), partial(read_histograms, kind=kind, names=names)
            )
            ranges = {} if found is None else ranges_of(*found)
            for name in names:
                new[name] += [ranges[name]] if name in ranges else []
                num_new[name].append(ranges[name][2] - ranges[name][1] if name in ranges else 0)
        now = self._identities()
        for name, rows in tensors.items():
            kept = rows.taken[same[name] - 1][1] if same[name] else 0
            parts: list[Range] = [(rows.rows, 0, kept), *new[name]] if kept else new[name]
            totals = (kept + np.cumsum(num_new[name])).tolist()
            rows.taken = [*rows.taken[: same[name]], *zip(now[same[name] :], totals, strict=True)]
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
                known = _Known(file)
            self._known[file.path] = known
        # What comes later counts more: a newer attempt, and of one attempt a lower rank.
        self._segments = sorted(
            self._known.values(), key=lambda k: (k.file.name.attempt, -k.file.name.rank, k.file.name.segment)
        )


def _is_one_of(span: TensorSpan, kind: str, names: Collection[str]) -> bool:
    return span.kind == kind and span.name in names
