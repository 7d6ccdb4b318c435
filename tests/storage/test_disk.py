"""A file under its final name is whole, and a name is claimed by one process only."""

import os

import pytest

from explorer.storage.disk import Disk


class FullDisk(Disk):
    """Takes the first half of a file."""

    def write_bytes(self, path, data, *, sync):
        path.write_bytes(bytes(data[: len(data) // 2]))
        raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.json"
    Disk().write_file(path, b"old content", sync=False)
    with pytest.raises(OSError, match="No space"):
        FullDisk().write_file(path, b"new content", sync=False)
    assert path.read_bytes() == b"old content"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_claim_is_refused_when_the_name_is_taken(tmp_path):
    path = tmp_path / "claimed.json"
    assert Disk().claim(path, b"first")
    assert not Disk().claim(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["claimed.json"]


def test_two_machines_with_the_same_process_id_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "run.json"

    class Late(Disk):
        def write_bytes(self, temporary, data, *, sync):
            super().write_bytes(temporary, data, sync=sync)
            assert Disk().claim(path, b"the other's")  # meanwhile, from beginning to end

    assert not Late().claim(path, b"a longer text of ours")
    assert path.read_bytes() == b"the other's"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_claim_works_on_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def no_link(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_link)
    path = tmp_path / "claimed.json"
    assert Disk().claim(path, b"first")
    assert not Disk().claim(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["claimed.json"]


def test_a_new_file_has_its_space_reserved_and_never_replaces_one(tmp_path):
    path = tmp_path / "a.journal"
    fd = Disk().open_new(path, 2**20)
    try:
        assert os.fstat(fd).st_size == 2**20
        assert os.fstat(fd).st_blocks * 512 >= 2**20
        with pytest.raises(FileExistsError):
            Disk().open_new(path, 2**20)
    finally:
        os.close(fd)


def test_a_file_whose_space_cannot_be_reserved_is_not_left_behind(tmp_path):
    with pytest.raises(OSError, match=r"."):
        Disk().open_new(tmp_path / "a.journal", 2**60)
    assert os.listdir(tmp_path) == []


def test_removing_what_is_gone_is_fine(tmp_path):
    Disk().remove(tmp_path / "nothing")
