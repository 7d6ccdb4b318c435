"""A journal in plain memory: what a disk took before it failed is not there twice afterwards."""

import errno
import os

import pytest

from explorer.recording.journal_file import JournalFile
from explorer.storage.disk import Disk
from explorer.storage.journal import Header
from explorer.storage.live import read_journal


class FullOnce(Disk):
    """Takes half of the first append and then says that it is full."""

    def __init__(self):
        self.full = True

    def append(self, fd, data):
        if self.full:
            self.full = False
            super().append(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().append(fd, data)


def test_an_append_that_failed_half_way_doubles_no_row(tmp_path):
    disk = FullOnce()
    journal = JournalFile(tmp_path / "0001-00000-000001.journal", Header(0, 1, 0, 1), 2**16, mapped=False, disk=disk)
    shape = journal.define(("a",), "d")
    for step in range(100):
        journal.put(shape, step, step, (step / 2,))
    journal.collect()
    with pytest.raises(OSError, match="No space"):
        journal.store(disk)
    journal.store(disk)
    (table,), damaged = read_journal(journal.path)
    journal.release()
    assert damaged == 0
    assert table.column("step").to_pylist() == [*range(100)]
