"""The files of a run one by one: a real recording, then damaged in every way that leaves the others whole."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from explorer.reading.files import count_foreign, list_files, list_missing, verify_files
from explorer.recording.recorder import Recorder
from explorer.storage.disk import Disk
from explorer.storage.snapshots import SnapshotTensor, snapshot_path, write_snapshot
from explorer.storage.tensors import TensorSegments


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run of two attempts."""
    with Recorder("digits", config={"lr": 0.1}, root=tmp_path, system_every_s=None) as rec:
        for step in range(100):
            rec.log({"loss": 1 / (step + 1), "acc": step / 100}, step=step)
    with Recorder("digits", root=tmp_path, run_id=rec.run_id, resume="must", system_every_s=None) as again:
        again.log({"loss": 0.001}, step=100)
    return Path(rec.path)


def segments(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "scalars").glob("*.parquet"))


def test_every_file_is_listed_with_its_rows_and_metrics(run_dir: Path) -> None:
    files = {file.name: file for file in list_files(run_dir)}
    for path in segments(run_dir):
        metadata = pq.read_metadata(path)
        found = files[f"scalars/{path.name}"]
        assert (found.kind, found.rows, found.num_metrics) == ("segment", metadata.num_rows, metadata.num_columns - 2)
        assert (found.size_bytes, found.problem) == (path.stat().st_size, None)
    kinds = [file.kind for file in files.values()]
    assert kinds.count("attempt") == kinds.count("totals") == 2
    assert files["run.json"].kind == "identity"


def test_a_running_run_has_a_journal_with_the_rows_so_far(tmp_path: Path) -> None:
    with Recorder("live", root=tmp_path, system_every_s=None) as rec:
        for step in range(10):
            rec.log({"loss": float(step)}, step=step)
        journals = [file for file in list_files(rec.path) if file.kind == "journal" and file.rows]
        assert [(file.rows, file.num_metrics, file.problem) for file in journals] == [(10, 1, None)]


def test_a_whole_run_has_nothing_wrong(run_dir: Path) -> None:
    assert verify_files(run_dir) == {}
    assert list_missing(run_dir) == []


def test_a_flipped_bit_anywhere_in_a_segment_is_found_and_named(run_dir: Path) -> None:
    path = segments(run_dir)[0]
    whole = path.read_bytes()
    for place in range(4, len(whole), max(1, len(whole) // 40)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert list(verify_files(run_dir)) == [f"scalars/{path.name}"], place


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x00" * 1000])
def test_a_torn_segment_is_listed_with_the_reason_and_without_rows(run_dir: Path, content: bytes) -> None:
    path = segments(run_dir)[0]
    path.write_bytes(content)
    found = next(file for file in list_files(run_dir) if file.name == f"scalars/{path.name}")
    assert found.problem
    assert found.rows is None
    assert sum(file.problem is not None for file in list_files(run_dir)) == 1


def test_a_record_that_is_no_json_is_listed_with_the_reason(run_dir: Path) -> None:
    (run_dir / "user.json").write_text("{")
    problems = {file.name: file.problem for file in list_files(run_dir) if file.problem}
    assert list(problems) == ["user.json"]
    assert "not valid JSON" in problems["user.json"]
    assert list(verify_files(run_dir)) == ["user.json"]


def test_a_newer_format_is_named(run_dir: Path) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**record, "format": 99}))
    assert "format 99" in verify_files(run_dir)["run.json"]


def test_a_segment_that_somebody_deleted_is_missed(run_dir: Path) -> None:
    first = segments(run_dir)[0]
    first.rename(first.with_name(first.name.replace("000001.parquet", "000002.parquet")))
    assert list_missing(run_dir) == ["scalars: segment 1 of attempt 1, rank 0 is missing: its rows are lost"]


def test_foreign_files_and_links_are_counted_but_never_listed(run_dir: Path) -> None:
    listed = list_files(run_dir)
    (run_dir / "notes.txt").write_text("mine")
    (run_dir / "scalars" / "0001-00000-000009.parquet").symlink_to("/etc/passwd")
    os.mkfifo(run_dir / "scalars" / "0001-00000-000008.parquet")
    assert list_files(run_dir) == listed
    assert count_foreign(run_dir) == 3


def test_a_folder_that_is_no_run_has_no_files(tmp_path: Path) -> None:
    assert list_files(tmp_path) == []
    assert list_files(tmp_path / "nowhere") == []
    assert count_foreign(tmp_path / "nowhere") == 0


@pytest.fixture
def watched(run_dir: Path, make_row) -> Path:
    """The run, with statistics of tensors, snapshots and a record of the model."""
    segments = TensorSegments(run_dir, 1, 0, Disk())
    segments.add([make_row(step, name) for step in range(3) for name in "abc"])
    segments.finish()
    for step, data, source in ((5, b"12345678", None), (6, None, 5)):
        view = None if data is None else memoryview(data)
        tensor = SnapshotTensor("a", "param", "float32", (2,), view, source, zlib.crc32(b"12345678"))
        path = snapshot_path(run_dir, step, 1, 0)
        write_snapshot(path, step, [tensor], attempt=1, rank=0, disk=Disk())
    (run_dir / "model").mkdir()
    (run_dir / "model" / "0001-00000.json").write_text('{"format": 1, "tensors": []}')
    return run_dir


WATCHED = {
    "model/0001-00000.json": ("model", None, None),
    "tensors/0001-00000-000001.parquet": ("tensors", 9, 3),
    "params/000000000005/0001-00000.parquet": ("snapshot", None, 1),
    "params/000000000006/0001-00000.parquet": ("snapshot", None, 1),
}


def test_tensors_snapshots_and_the_model_are_listed_and_nothing_is_foreign(watched: Path) -> None:
    files = {file.name: (file.kind, file.rows, file.num_metrics) for file in list_files(watched)}
    assert {name: files[name] for name in WATCHED} == WATCHED
    assert verify_files(watched) == {}
    assert list_missing(watched) == []
    assert count_foreign(watched) == 0


@pytest.mark.parametrize("name", WATCHED)
def test_a_flipped_bit_anywhere_in_what_was_watched_is_found_and_named(watched: Path, name: str) -> None:
    path = watched / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x80
        path.write_bytes(damaged)
        assert name in verify_files(watched), place


@pytest.mark.parametrize("name", WATCHED)
def test_a_torn_file_of_what_was_watched_is_listed_with_the_reason(watched: Path, name: str) -> None:
    path = watched / name
    path.write_bytes(path.read_bytes()[:-5])
    assert [file.name for file in list_files(watched) if file.problem] == [name]


def test_bytes_that_a_snapshot_needs_and_that_are_gone_are_missed(watched: Path) -> None:
    (watched / "params/000000000005/0001-00000.parquet").unlink()
    assert verify_files(watched) == {
        "params/000000000006/0001-00000.parquet": "needs the bytes of 'a' from step 5, which does not have them"
    }


def test_a_segment_of_tensors_that_somebody_deleted_is_missed(watched: Path) -> None:
    path = watched / "tensors/0001-00000-000001.parquet"
    path.rename(path.with_name("0001-00000-000002.parquet"))
    gap = "segment 1 of attempt 1, rank 0 is missing: its rows are lost"
    assert list_missing(watched) == [f"tensors: {gap}"]
    found = verify_files(watched)
    assert found["tensors"] == gap
    assert "another place" in found["tensors/0001-00000-000002.parquet"]
