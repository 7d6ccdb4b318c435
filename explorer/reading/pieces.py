"""The files of one table of a run, as a reader follows them: sealed segments, and journals that grow."""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.errors import DamagedFile, FileError
from explorer.reading.blocks import Floats, Ints
from explorer.reading.liveness import writer_is_gone
from explorer.storage.layout import SegmentFile, SegmentName, list_gaps, list_segments
from explorer.storage.live import JournalReader
from explorer.storage.segments import Segment, open_segment

# A folder's time stamp moves in steps (10 ms, or 2 s on some file systems): younger ones are not believed.
_SETTLED_NS: Final = 3_000_000_000
# How long a journal must have been silent when we ask whether anybody still writes it.
_SILENT_S: Final = 1.0


@dataclass
class Piece:
    """One file of the table: a sealed segment (or one part of it), or a journal with what it held at the last look."""

    file: SegmentFile
    tables: list[pa.Table] = field(default_factory=list)
    problem: str | None = None

    @property
    def key(self) -> tuple[int, int, int]:
        """(attempt, segment, part): the order in which pieces count."""
        return (self.file.name.attempt, self.file.name.segment, self.file.name.part)

    @property
    def is_journal(self) -> bool:
        """Whether rows may still be added."""
        return self.file.name.kind == "journal"


class _Journal:
    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.tables: list[pa.Table] = []
        self.problem: str | None = None
        self._reader = JournalReader(file.path)
        self._heard = -_SILENT_S
        self._final = False

    def read_new(self) -> None:
        name = self.file.name
        try:
            if not self._final and time.monotonic() - self._heard > _SILENT_S:
                self._final = writer_is_gone(self.file.path.parent.parent, name.attempt, name.rank)
            new = self._reader.read_new(final=self._final)
            header = self._reader.header
            if header and (header.attempt, header.rank, header.segment) != (name.attempt, name.rank, name.segment):
                raise DamagedFile(self.file.path, "belongs to another place than its name says")
        except FileError as error:
            self.tables, self.problem = [], f"{self.file.path.name}: {error.reason}"
            return
        if new:
            self.tables = [*self.tables, *new]
            self._heard = time.monotonic()
        self.problem = None
        if self._reader.damaged:
            self.problem = (
                f"{self.file.path.name}: {self._reader.damaged} damaged places; the rows around them are shown"
            )


class TableFiles:
    """The files of one table of one run, looked at again on demand. Not thread-safe: its owner holds a lock."""

    def __init__(self, run_dir: Path, table: str) -> None:
        self.table = table
        self.lock = threading.RLock()
        self._run_dir = run_dir
        self._folder = os.path.join(run_dir, table)
        self._stamp: tuple[int, int] | None = None
        self._files: list[SegmentFile] = []
        self._journals: dict[str, _Journal] = {}
        self._looked: float | None = None

    def look(self, fresh_s: float = 0.0) -> bool:
        """List again what has changed, unless the last look is less than `fresh_s` seconds old; tell whether it was."""
        now = time.monotonic()
        if self._looked is not None and now - self._looked < fresh_s:
            return False
        self._looked = now
        stamp = _folder_stamp(self._folder)
        if stamp is None:
            self._files = []
        elif stamp != self._stamp or time.time_ns() - stamp[1] < _SETTLED_NS:
            self._files = list_segments(self._run_dir, self.table)
        self._stamp = stamp
        return True

    def forget_look(self) -> None:
        """Let the next look list everything: a file that was listed is gone."""
        self._looked = self._stamp = None

    def ranks(self) -> list[int]:
        """Ranks that have files, ascending."""
        return sorted({file.name.rank for file in self._files})

    def pieces(self, rank: int) -> list[Piece]:
        """What a rank has, in the order in which it counts; journals are read on from where they were left.

        Raises:
            FileNotFoundError: a journal has become a segment meanwhile; look again.
        """
        found = []
        listed = set()
        for file in self._files:
            if file.name.rank != rank:
                continue
            if file.name.kind == "segment":
                found.append(Piece(file))
                continue
            journal = self._journals.get(file.location)
            if journal is None or journal.file.inode != file.inode:
                journal = self._journals[file.location] = _Journal(file)
            journal.read_new()
            listed.add(file.location)
            if journal.tables or journal.problem:  # a recorder keeps empty ones ready behind the one that it fills
                found.append(Piece(file, journal.tables, journal.problem))
        for gone in [at for at, j in self._journals.items() if j.file.name.rank == rank and at not in listed]:
            del self._journals[gone]
        return found

    def gaps(self, rank: int) -> list[str]:
        """Segments that must have existed, one sentence each."""
        return list_gaps([file for file in self._files if file.name.rank == rank])


def _folder_stamp(folder: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns) if stat.S_ISDIR(found.st_mode) else None


def open_piece(piece: Piece, table: str) -> Segment:
    """Open a sealed piece and check that it is what its name says. Raises as `open_segment`."""
    segment = open_segment(piece.file.location)
    name = piece.file.name
    said = [segment.meta.get(key) for key in ("table", "attempt", "rank", "segment", "part")]
    if said != [table, name.attempt, name.rank, name.segment, name.part]:
        segment.close()
        raise DamagedFile(piece.file.location, "belongs to another place than its name says")
    return segment


def missing_parts(segment: Segment, name: SegmentName, present: set[int]) -> list[int]:
    """Parts of a segment that its part 0 speaks of and that are not there."""
    count = segment.meta.get("parts")
    if name.part != 0 or not isinstance(count, int) or count > 10_000:
        return []
    return sorted(set(range(count)) - present)


def newest_wins(step: Ints) -> Ints | None:
    """Of points in the order in which they count, the rows to keep, by ascending step; of one step the last one.

    None when the steps are strictly increasing, so that all rows stay as they are.
    """
    if is_increasing(step):
        return None
    order = np.argsort(step, kind="stable")
    ordered = step[order]
    keep = np.ones(len(step), bool)
    keep[:-1] = ordered[1:] != ordered[:-1]
    return order[keep]


def is_increasing(step: Ints) -> bool:
    """Whether each step is larger than the one before."""
    return bool((step[1:] > step[:-1]).all())


def as_floats(value: npt.NDArray[Any]) -> Floats:
    """float64[n]; integers beyond 2**53 are rounded."""
    return value if value.dtype == np.float64 else value.astype(np.float64)
