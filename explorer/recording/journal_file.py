"""A journal in memory that the training thread writes into, and the file behind it.

Mapped: the memory is the file's own, so a row is safe from a kill as soon as it is written. The space is reserved on
the disk before it is mapped (a mapped write to a full disk would be a SIGBUS), the pages are touched ahead by the
writer thread (so that the training thread takes no page fault, which can wait for the disk), and it is done only on
file systems where both hold. Buffered: plain memory, appended to the file by the writer thread every 0.2 s; for
network and copy-on-write file systems, and for systems without `posix_fallocate`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from explorer.storage import journal
from explorer.storage.disk import Disk
from explorer.storage.journal import HEADER_BYTES, Header, Shape
from explorer.storage.journal_scan import Scan, put_checksums, scan

JOURNAL_BYTES = 8 * 2**20
FIRST_JOURNAL_BYTES = 2**20
AHEAD_BYTES = 256 * 2**10
IN_FLIGHT_S = 2.0
MAPPED_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "overlay"})
_MADV_POPULATE_WRITE = 23  # Linux 5.14: make pages present and writable without changing them

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else ctypes.pythonapi

ShapeKey = tuple[tuple[str, ...], str]


def can_map(folder: Path) -> bool:
    """Whether a journal in this folder may be mapped: Linux, and a local file system that keeps reserved space."""
    return sys.platform == "linux" and file_system_of(folder) in MAPPED_FILE_SYSTEMS


def file_system_of(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the file system that holds a folder, such as "ext4" or "nfs4"; None when unknown."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    where = os.path.realpath(folder) + "/"
    best, kind = "", None
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = mount.split()[4].replace("\\040", " ").rstrip("/") + "/"
        if where.startswith(point) and len(point) >= len(best):
            best, kind = point, source.split()[0]
    return kind


class JournalFile:
    """One journal that is being filled.

    Attributes:
        path: the file.
        header: whose rows these are.
        memory: the memory, header included. A row goes where `next` is.
        view: the same memory, for slices.
        next: offset of the next row. Taking a place is `at = j.next; j.next = at + size` with nothing between that
            could let another thread run, so that two threads never get the same place.
        limit: no row may reach beyond it; 0 once the journal is closed.
        shapes: the shapes defined in it.
        step: the step of the newest row, or None.
    """

    __slots__ = (
        "_collected",
        "_fd",
        "_known",
        "_mapping",
        "_numbers",
        "_stored",
        "_waiting_since",
        "header",
        "limit",
        "memory",
        "next",
        "path",
        "shapes",
        "step",
        "view",
    )

    def __init__(self, path: Path, header: Header, size: int, *, mapped: bool, disk: Disk) -> None:
        self.path = path
        self.header = header
        self.shapes: dict[ShapeKey, Shape] = {}
        self.next = HEADER_BYTES
        self.step: int | None = None
        self.limit = size
        self._numbers = itertools.count(1)
        self._known: dict[int, Shape] = {}
        self._collected = HEADER_BYTES
        self._stored = 0
        self._waiting_since: float | None = None
        self._fd = disk.open_new(path, size if mapped else 0)
        try:
            self._mapping = mmap.mmap(self._fd, size) if mapped else None
            self.memory: mmap.mmap | bytearray = self._mapping if self._mapping is not None else bytearray(size)
            self.view = memoryview(self.memory)
            self._touch(0, size)
            self.view[:HEADER_BYTES] = header.encode()
        except BaseException:
            os.close(self._fd)
            disk.remove(path)
            raise

    @property
    def mapped(self) -> bool:
        """Whether the memory is the file's own."""
        return self._mapping is not None

    def define(self, names: tuple[str, ...], kinds: str) -> Shape | None:
        """The shape of these names and kinds, written down if it is new; None when there is no room for it.

        Two threads may define the same one twice; both are good.
        """
        shape = self.shapes.get((names, kinds))
        if shape is not None:
            return shape
        shape = Shape(next(self._numbers), names, kinds)
        row = shape.definition()
        if shape.number > journal.MAX_SHAPES or self.next + 2 * len(row) + shape.row_bytes > self.limit:
            return None
        for _ in range(2):
            at = self.next
            self.next = at + len(row)
            if at + len(row) > self.limit:
                return None
            self.view[at : at + len(row)] = row
        self.shapes[names, kinds] = shape
        return shape

    def put(self, shape: Shape, step: int, monotonic_ns: int, values: Sequence[float | int]) -> bool:
        """Add a row; False when there is no room left."""
        at = self.next
        if at + shape.row_bytes > self.limit:
            return False
        self.next = at + shape.row_bytes
        shape.pack_into(self.memory, at, shape.head, step, monotonic_ns, *values, shape.whole)
        return True

    def collect(self, *, final: bool = False) -> Scan:
        """The rows that came since the last call. Called by the writer thread alone."""
        end = min(self.next, len(self.view))
        # A thread may be stopped within a row while others write thousands: its place is passed only after 2 s.
        stuck = self._waiting_since is not None and time.monotonic() - self._waiting_since > IN_FLIGHT_S
        found = scan(self.view, self._collected, end, self._known, final=final or stuck, verify=False, patient=True)
        put_checksums(self.view, found.rows)
        reached = end if final else found.next_offset
        if reached > self._collected or reached >= end:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._collected = reached
        return found

    def close_to_rows(self) -> None:
        """Let no further row in; those that are being written still arrive."""
        self.limit = 0

    @property
    def is_complete(self) -> bool:
        """Whether every row that took a place has been collected."""
        return self._collected >= min(self.next, len(self.view))

    @property
    def stored(self) -> int:
        """Offset up to which the file holds the rows."""
        return len(self.view) if self.mapped else self._stored

    def use_header(self, header: Header) -> None:
        """Have another header, while there are no rows."""
        self.header = header
        self.view[:HEADER_BYTES] = header.encode()
        self._stored = 0

    def store(self, disk: Disk) -> None:
        """Buffered: append what was collected to the file. Raises OSError; what was written is not written again."""
        if self.mapped:
            return
        while self._stored < self._collected:
            part = self.view[self._stored : self._collected]
            os.lseek(self._fd, self._stored, os.SEEK_SET)  # an append that failed may have written some of it
            disk.append(self._fd, part)
            self._stored += len(part)

    def touch_ahead(self) -> None:
        """Make the pages that come next writable again, which the kernel undoes whenever it writes them out."""
        if self.mapped and self.limit:
            start = self.next // mmap.PAGESIZE * mmap.PAGESIZE
            self._touch(start, min(AHEAD_BYTES, len(self.view) - start))

    def _touch(self, start: int, size: int) -> None:
        if self._mapping is None or size <= 0:
            return
        buffer = ctypes.c_char.from_buffer(self._mapping)
        try:
            # Through ctypes, since this can wait for the disk and must not hold the interpreter meanwhile.
            failed = _LIBC.madvise(ctypes.c_void_p(ctypes.addressof(buffer) + start), size, _MADV_POPULATE_WRITE)
            if failed and start == 0:
                ctypes.memset(ctypes.addressof(buffer), 0, size)
        finally:
            del buffer

    def sync(self, disk: Disk) -> None:
        """Force the rows to the device: against power loss, not needed against a kill."""
        disk.sync(self._fd)

    def release(self) -> None:
        """Give memory and descriptor back, as soon as no thread holds the view any more."""
        self.limit = 0
        self.view = memoryview(b"")
        self.memory = bytearray()
        self._mapping = None
        with contextlib.suppress(OSError):
            os.close(self._fd)
