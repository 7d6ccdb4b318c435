"""The files of a run one by one: a real recording, then damaged in every way that leaves the others whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from explorer.reading.files import count_foreign, list_files, list_missing, verify_files
from explorer.recording.recorder import Recorder


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
