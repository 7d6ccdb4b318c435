"""A journal is read while it grows: each row comes once, and whole."""

import os

import pytest

from explorer.errors import DamagedFile
from explorer.storage.live import JournalReader, read_journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0001-00000-000001.journal"


def steps(tables):
    return [step for table in tables for step in table.column("step").to_pylist()]


def test_each_look_gives_what_is_new(path, journal_bytes):
    shape = journal_bytes.define(["a"])
    path.write_bytes(journal_bytes.data)
    reader = JournalReader(path)
    assert reader.read_new() == []
    for number in range(10):
        for step in range(3 * number, 3 * number + 3):
            journal_bytes.row(shape, step, float(step))
        path.write_bytes(journal_bytes.data)
        assert steps(reader.read_new()) == [3 * number, 3 * number + 1, 3 * number + 2]
        assert reader.read_new() == []


def test_a_shape_defined_at_an_earlier_look_is_remembered(path, journal_bytes):
    first = journal_bytes.define(["a"])
    path.write_bytes(journal_bytes.row(first, 0, 1.0).data)
    reader = JournalReader(path)
    reader.read_new()
    second = journal_bytes.define(["b"])
    journal_bytes.row(second, 1, 2.0).row(first, 2, 3.0)
    path.write_bytes(journal_bytes.data)
    assert steps(reader.read_new()) == [1, 2]


def test_space_kept_free_behind_the_rows_is_not_read(path, journal_bytes):
    shape = journal_bytes.define(["a"])
    path.write_bytes(journal_bytes.row(shape, 0, 1.0).data)
    os.truncate(path, 200 * 2**20)
    reader = JournalReader(path)
    assert steps(reader.read_new()) == [0]
    assert len(reader._read_from(os.open(path, os.O_RDONLY), 200 * 2**20, to_end=False)) < 2**20


def test_rows_larger_than_one_look_are_read_in_one_piece(path, journal_bytes):
    shape = journal_bytes.define([f"m{n}" for n in range(4_096)])
    for step in range(30):
        journal_bytes.row(shape, step, *([float(step)] * 4_096))
    path.write_bytes(journal_bytes.data)
    assert steps(JournalReader(path).read_new()) == list(range(30))


def test_a_row_cut_at_any_byte_is_left_out_until_it_is_whole(path, journal_bytes):
    shape = journal_bytes.define(["a", "b"])
    journal_bytes.row(shape, 0, 1.0, 2.0)
    before = len(journal_bytes.data)
    journal_bytes.row(shape, 1, 3.0, 4.0)
    for size in range(before, len(journal_bytes.data)):
        path.write_bytes(journal_bytes.data[:size])
        reader = JournalReader(path)
        assert steps(reader.read_new()) == [0]
        path.write_bytes(journal_bytes.data)
        assert steps(reader.read_new()) == [1]
        assert reader.damaged == 0


def test_a_damaged_place_is_counted_and_the_rows_around_it_are_kept(path, journal_bytes):
    shape = journal_bytes.define(["a"])
    for step in range(5):
        journal_bytes.row(shape, step, 1.0)
    journal_bytes.data[-3 * shape.row_bytes + 24] ^= 1
    path.write_bytes(journal_bytes.data)
    tables, damaged = read_journal(path)
    assert steps(tables) == [0, 1, 3, 4]
    assert damaged == 1


def test_wall_times_come_from_the_monotonic_clock_and_one_offset(path, journal_bytes):
    shape = journal_bytes.define(["a"])
    path.write_bytes(journal_bytes.row(shape, 5, 1.0).data)
    tables, _ = read_journal(path)
    assert tables[0].column("wall_time").cast("int64").to_pylist() == [1_000_000_005]


def test_what_is_no_journal_of_ours_is_named(path):
    for content in (b"x" * 200, b"EXPJRNL1" + bytes(100), b"PAR1" * 50):
        path.write_bytes(content)
        with pytest.raises(DamagedFile):
            read_journal(path)


def test_a_pipe_a_link_and_a_giant_are_refused_without_waiting(path, tmp_path):
    os.mkfifo(path)
    with pytest.raises(DamagedFile):
        read_journal(path)
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"x")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedFile):
        read_journal(path)
    path.unlink()
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(DamagedFile, match="larger than a journal can be"):
        read_journal(path)


def test_a_journal_that_has_become_a_segment_is_gone_not_damaged(path):
    with pytest.raises(FileNotFoundError):
        read_journal(path)


def test_a_journal_that_was_made_a_moment_ago_has_no_rows_yet(path):
    for content in (b"", bytes(2**20)):
        path.write_bytes(content)
        assert read_journal(path) == ([], 0)


def test_a_row_that_was_written_while_the_file_was_being_read_is_neither_missed_nor_called_damaged(path, journal_bytes):
    shape = journal_bytes.define(["a"])
    first = len(journal_bytes.data)
    for step in range(500):
        journal_bytes.row(shape, step, float(step))
    whole = bytes(journal_bytes.data)
    seen_early = bytearray(whole)  # the first pages were copied before the rows on them were whole
    seen_early[first + 40 : first + 400] = bytes(360)

    class Racing(JournalReader):
        def _read_from(self, fd, size, *, to_end):
            return bytes(seen_early[self._offset :])

    path.write_bytes(whole)
    reader = Racing(path)
    assert steps(reader.read_new()) == list(range(500))
    assert reader.damaged == 0
