"""The rows of one table on their way to disk: journals that are filled, ready, or waiting to become segments.

Two sides meet here without a lock. Threads of the training take places in the current journal and change journals; one
writer thread prepares journals, collects rows and seals. Each step that both could take is one attribute read next to
one attribute write, or one operation of a deque, which the interpreter does not interrupt.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from explorer.recording.journal_file import FIRST_JOURNAL_BYTES, IN_FLIGHT_S, JOURNAL_BYTES, JournalFile
from explorer.storage import columns, segments
from explorer.storage.disk import Disk
from explorer.storage.journal import HEADER_BYTES, MAX_SHAPE_NAMES, Header, Shape
from explorer.storage.journal_scan import ShapeRows
from explorer.storage.layout import SegmentName

SMALL_JOURNAL_BYTES = FIRST_JOURNAL_BYTES // 4
READY_JOURNALS = 3
BUSY_JOURNAL_BYTES = 4 * JOURNAL_BYTES
BUSY_S = 1.0
MAX_UNSEALED = 16
MAX_OVERFLOW_CELLS = 500_000
MAX_LOOKS = 256
SETTLED_S = 1.0

Number = float | int


@dataclass(frozen=True)
class Row:
    """One row that is not in a journal yet. `values` are numbers that fit `kinds`, in the order of `names`."""

    step: int
    monotonic_ns: int
    names: tuple[str, ...]
    kinds: str
    values: tuple[Number, ...]


class Stream:
    """See the module. `current` is the journal that rows go to.

    A `small` stream has few rows, which the writer thread puts itself.

    Attributes:
        dropped_rows: rows given up because memory was full before the writer thread had a journal for them.
    """

    def __init__(self, run_dir: Path, table: str, header: Header, *, mapped: bool, disk: Disk, small: bool) -> None:
        self._run_dir, self._table, self._header = run_dir, table, header
        self._mapped, self._disk = mapped, disk
        self._small = small
        self._changed_at: deque[float] = deque([-2 * BUSY_S, 0.0], maxlen=2)
        self._segment = 0
        self._ready: deque[JournalFile] = deque()
        self._retired: deque[JournalFile] = deque()
        self._retired_at: dict[JournalFile, float] = {}
        self._rows: dict[JournalFile, _Collected] = {}
        self._fresh: list[ShapeRows] = []
        self._overflow: deque[Row] = deque()
        self._overflow_cells = 0
        self.dropped_rows = 0
        self._num_changes, self._settled = 0, small
        self._began = time.monotonic()
        self.current = self._new_journal(SMALL_JOURNAL_BYTES if small else FIRST_JOURNAL_BYTES)
        if not small:  # a training that logs at once must not get ahead of the writer thread, which is just starting
            with contextlib.suppress(OSError):
                self._ready.append(self._new_journal(self._next_size()))

    # The training's side.

    def put(self, row: Row) -> Shape | None:
        """Record a row. Returns the shape it has in the current journal, or None when it waits in memory instead."""
        for _ in range(MAX_UNSEALED):
            journal = self.current
            shape = journal.define(row.names, row.kinds)
            if shape is not None and journal.put(shape, row.step, row.monotonic_ns, row.values):
                return shape
            if not self._change(journal):
                break
        self._keep(row)
        return None

    def _change(self, full: JournalFile) -> bool:
        """Go on to the next journal unless another thread has done so; False when none is ready, or all is over."""
        if not full.limit:
            return self.current is not full
        try:
            fresh = self._ready.popleft()
        except IndexError:
            return False
        if self.current is full:
            fresh.step = full.step
            self.current = fresh
            self._changed_at.append(time.monotonic())
            self._num_changes += 1
            self._retired.append(full)
        else:
            self._ready.appendleft(fresh)
        return True

    def _keep(self, row: Row) -> None:
        cells = len(row.values)  # not within the sum, where another thread could change it meanwhile
        if self._overflow_cells + cells > MAX_OVERFLOW_CELLS:
            self.dropped_rows += 1
            return
        self._overflow_cells += cells
        self._overflow.append(row)

    # The writer's side; one thread.

    def prepare(self) -> None:
        """Have journals ready, and put rows that had to wait in memory where they belong. Raises OSError."""
        if self._small:
            ready = int(2 * self.current.next > self.current.limit)
        else:
            ready = READY_JOURNALS if self._num_changes else 1
            if not self._settled and time.monotonic() - self._began > SETTLED_S:
                self._settle()
        while len(self._ready) < ready and len(self._retired) < MAX_UNSEALED:
            self._ready.append(self._new_journal(self._next_size()))
        while self._overflow and self._ready:
            row = self._overflow.popleft()
            cells = len(row.values)
            self._overflow_cells -= cells
            self.put(row)
        self.current.touch_ahead()

    def _next_size(self) -> int:
        """Larger while a journal lasts less than a second: fewer changes, and time to get the next ones ready.

        Small until the first one is full, but for a training that begins with very many rows: a run that is killed
        leaves them all behind.
        """
        if self._small:
            return SMALL_JOURNAL_BYTES
        if self._settled and not self._num_changes:
            return FIRST_JOURNAL_BYTES
        return BUSY_JOURNAL_BYTES if self._changed_at[-1] - self._changed_at[0] < BUSY_S else JOURNAL_BYTES

    def _settle(self) -> None:
        """The first second is over. Raises OSError."""
        self._settled = True
        if not self._num_changes:
            self._discard_ready()

    def _discard_ready(self) -> None:
        while self._ready:
            try:
                journal = self._ready.pop()
            except IndexError:  # the training has just taken it
                break
            journal.release()
            self._disk.remove(journal.path)
            if journal.header.segment == self._segment:
                self._segment -= 1  # the new ones take its number: a gap would say that rows are lost

    def _new_journal(self, size: int) -> JournalFile:
        name = SegmentName(self._header.attempt, self._header.rank, self._segment + 1, kind="journal")
        header = Header(self._header.wall_minus_monotonic_ns, name.attempt, name.rank, name.segment)
        path = self._run_dir / self._table / name.filename
        made = JournalFile(path, header, size, mapped=self._mapped, disk=self._disk)
        self._segment += 1
        return made

    def collect(self) -> None:
        """Take note of the rows that came, and in buffered mode: put them into the file. Raises OSError."""
        now = time.monotonic()
        for journal in [*self._retired, self.current]:
            late = now - self._retired_at.setdefault(journal, now) > IN_FLIGHT_S
            final = late and not journal.limit and not journal.is_complete
            found = journal.collect(final=final).rows
            self._rows.setdefault(journal, _Collected()).add(found)
            self._fresh += found
            if journal.limit:
                del self._retired_at[journal]
            with contextlib.suppress(OSError):  # the training goes on meanwhile; a later call reports it
                self.prepare()
        for journal in [*self._retired, self.current]:
            journal.store(self._disk)

    def take_fresh(self) -> list[ShapeRows]:
        """The rows that `collect` found since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def seal(self) -> bool:
        """Turn the oldest journal into a segment if it is full and complete; whether it was. Raises OSError.

        One a call, since it takes a while: between two, the training needs new journals. What failed is tried again.
        """
        if not self._retired:
            return False
        journal = self._retired[0]
        journal.close_to_rows()
        if not journal.is_complete or journal not in self._rows:
            return False
        self._seal(journal)
        self._retired.popleft()
        return True

    def _seal(self, journal: JournalFile) -> None:
        rows = self._rows[journal].join()
        tables = columns.tables_of(rows, journal.header.wall_minus_monotonic_ns)
        if tables:
            name = SegmentName(journal.header.attempt, journal.header.rank, journal.header.segment)
            segments.write_segment(self._run_dir, self._table, name, tables, disk=self._disk)
        self._disk.remove(journal.path)
        self._rows.pop(journal, None)
        self._retired_at.pop(journal, None)
        journal.release()

    def sync(self) -> None:
        """Force the current journal to the device. Raises OSError."""
        if self.current.next > HEADER_BYTES:
            self.current.sync(self._disk)

    def follow(self, wall_minus_monotonic_ns: int) -> None:
        """Have the times of rows from now on turned into wall times by this offset. Raises OSError.

        A journal has one offset, so they go to a new one. Called again while there is none.
        """
        current = self.current
        if current.header.wall_minus_monotonic_ns == wall_minus_monotonic_ns:
            return
        self._header = replace(self._header, wall_minus_monotonic_ns=wall_minus_monotonic_ns)
        if current.next == HEADER_BYTES:  # a journal without rows would leave a gap among the segments
            current.use_header(replace(current.header, wall_minus_monotonic_ns=wall_minus_monotonic_ns))
            return
        self._change_to_new()
        if self.current is not current:
            current.close_to_rows()  # those that know it already go on as well

    def _change_to_new(self) -> None:
        self._discard_ready()
        self._ready.append(self._new_journal(self._next_size()))
        self._change(self.current)

    @property
    def num_waiting(self) -> int:
        """Rows that are in memory only, since there was no journal for them."""
        return len(self._overflow)

    @property
    def is_here(self) -> bool:
        """Whether the current journal's file is still in the run's folder."""
        return self.current.path.exists()

    def move_to_new_folder(self) -> None:
        """The run's folder was deleted and made anew: start new journals; rows in memory become segments. OSError."""
        self._change_to_new()
        self.prepare()

    def finish(self) -> None:
        """Write everything. Raises OSError; calling it again goes on where it stopped."""
        while self._overflow:
            self.prepare()
            self.collect()
            if not self.seal():
                time.sleep(0.01)
        current = self.current
        if current.limit:  # else an earlier try has closed it
            current.close_to_rows()
            self._retired.append(current)
        while self._retired:
            self.collect()
            if not self.seal():
                time.sleep(0.01)
        while self._ready:
            journal = self._ready.popleft()
            journal.release()
            self._disk.remove(journal.path)

    def give_up(self) -> int:
        """It is over: count the rows that no file holds as dropped. How many these are."""
        lost = len(self._overflow)
        for journal, rows in self._rows.items():
            lost += sum(int((found.order >= journal.stored).sum()) for found in rows.join())
        self._overflow.clear()
        self.dropped_rows += lost
        return lost


class _Collected:
    """The rows of one journal. Joined now and then: a slow training has one row a look, and arrays of their own."""

    def __init__(self) -> None:
        self._parts: list[ShapeRows] = []
        self._join_at = MAX_LOOKS

    def add(self, found: list[ShapeRows]) -> None:
        self._parts += found
        if len(self._parts) >= self._join_at:
            self._join_at = 2 * len(self.join()) + MAX_LOOKS

    def join(self) -> list[ShapeRows]:
        """One entry a shape."""
        self._parts = _joined(self._parts)
        return self._parts


def split_wide(row: Row) -> list[Row]:
    """A row as rows of at most 4,096 values."""
    if len(row.names) <= MAX_SHAPE_NAMES:
        return [row]
    cuts = range(0, len(row.names), MAX_SHAPE_NAMES)
    parts = [slice(cut, cut + MAX_SHAPE_NAMES) for cut in cuts]
    return [Row(row.step, row.monotonic_ns, row.names[p], row.kinds[p], row.values[p]) for p in parts]


def _joined(rows: list[ShapeRows]) -> list[ShapeRows]:
    """One entry a shape, in the order written."""
    by_shape: dict[int, list[ShapeRows]] = {}
    for found in rows:
        by_shape.setdefault(found.shape.number, []).append(found)
    return [
        parts[0]
        if len(parts) == 1
        else ShapeRows(
            parts[0].shape,
            np.asfortranarray(np.concatenate([part.words for part in parts])),
            np.concatenate([part.order for part in parts]),
        )
        for parts in by_shape.values()
    ]
