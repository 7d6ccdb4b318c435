"""Read a journal while it grows: each look costs what is new, not what is there."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from explorer.errors import DamagedFile
from explorer.storage import columns, journal
from explorer.storage.journal import HEADER_BYTES, Header, Shape
from explorer.storage.journal_scan import Scan, scan

LOOK_AGAIN_S = 0.02
_LOOK_BYTES = 256 * 2**10
_QUIET_BYTES = 64 * 2**10


class JournalReader:
    """A place in a journal, kept between looks.

    Attributes:
        path: the journal.
        header: whose rows these are; None before the first look.
        damaged: places that held no whole row although rows follow, so far.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.header: Header | None = None
        self.damaged = 0
        self._offset = HEADER_BYTES
        self._shapes: dict[int, Shape] = {}

    def read_new(self, *, final: bool = False) -> list[pa.Table]:
        """The rows that were added since the last look, as `columns.tables_of` gives them; [] when there are none.

        Args:
            final: the writer is gone; a place without a whole row is then damage, not a row that is being written.

        Raises:
            FileNotFoundError: the journal is gone: it has become a segment.
            DamagedFile: it is not a journal of ours.
        """
        found = self._scan(final)
        if self.header is None or not found.rows:
            return []
        return columns.tables_of(found.rows, self.header.wall_minus_monotonic_ns)

    def _scan(self, final: bool) -> Scan:
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedFile(self.path, f"cannot be opened ({error.strerror})") from error
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size > journal.MAX_JOURNAL_BYTES:
                raise DamagedFile(self.path, "is no regular file, or larger than a journal can be")
            if self.header is None:
                self.header = self._read_header(fd)
            if self.header is None:
                return Scan()
            data = self._read_from(fd, found.st_size, to_end=final)
            result = scan(data, 0, len(data) // 8 * 8, self._shapes, final=final)
            if result.damaged and not final:  # rows came while they were read: a moment later they are whole
                time.sleep(LOOK_AGAIN_S)
                data = os.pread(fd, result.next_offset, self._offset)
                result = scan(data, 0, len(data) // 8 * 8, self._shapes, final=False)
        except OSError as error:
            raise DamagedFile(self.path, f"cannot be read ({error.strerror})") from error
        finally:
            os.close(fd)
        rows = [replace(each, order=each.order + self._offset) for each in result.rows]
        self._offset += result.next_offset
        self.damaged += result.damaged
        return Scan(rows, self._offset, result.damaged)

    def _read_header(self, fd: int) -> Header | None:
        """None for a journal that has its space but not its header yet, so that there are no rows."""
        data = os.pread(fd, HEADER_BYTES, 0)
        if not any(data):
            return None
        try:
            return Header.decode(data)
        except ValueError as error:
            raise DamagedFile(self.path, str(error)) from error

    def _read_from(self, fd: int, size: int, *, to_end: bool) -> bytes:
        """The bytes from our place on; without `to_end`, up to the first long stretch of zeros (space kept free)."""
        if to_end:
            return os.pread(fd, max(0, size - self._offset), self._offset)
        parts: list[bytes] = []
        at = self._offset
        while at < size:
            part = os.pread(fd, _LOOK_BYTES, at)
            parts.append(part)
            at += len(part)
            if len(part) < _LOOK_BYTES or part[-_QUIET_BYTES:].count(0) == _QUIET_BYTES:
                break
        return b"".join(parts)


def read_journal(path: str | Path, *, final: bool = True) -> tuple[list[pa.Table], int]:
    """All rows of a journal, and the number of damaged places between them. Raises as `JournalReader.read_new`."""
    reader = JournalReader(path)
    return reader.read_new(final=final), reader.damaged
