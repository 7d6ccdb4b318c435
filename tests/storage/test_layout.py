"""Only names of ours count, and only regular files."""

import os

import pytest

from explorer.storage import layout
from explorer.storage.layout import SegmentName


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "scalars").mkdir()
    return tmp_path


def put(run_dir, *names):
    for name in names:
        (run_dir / "scalars" / name).write_bytes(b"x")


def listed(run_dir):
    return [file.name.filename for file in layout.list_segments(run_dir)]


@pytest.mark.parametrize(
    "name",
    [
        SegmentName(1, 0, 1),
        SegmentName(9_999, 99_999, 999_999),
        SegmentName(1, 0, 1, 17),
        SegmentName(3, 2, 1, kind="journal"),
    ],
)
def test_a_name_says_what_it_was_made_of(name):
    assert layout.parse_segment_name(name.filename) == name


@pytest.mark.parametrize(
    "filename",
    [
        "1-0-1.parquet",
        "0001-00000-000001.parquet.tmp",
        ".0001-00000-000001.parquet.17.tmp",
        "0001-00000-000001.p0.parquet",
        "0001-00000-000001.p01.parquet",
        "0001-00000-000001.p1.journal",
        "0001-00000-000001.PARQUET",
        "0001-00000-0000001.parquet",
        "٠٠٠١-00000-000001.parquet",
        "0001-00000-000001.parquet\n",
        "",
    ],
)
def test_a_foreign_name_is_ignored(run_dir, filename):
    assert layout.parse_segment_name(filename) is None
    if filename:
        put(run_dir, filename)
    assert listed(run_dir) == []


def test_files_come_in_the_order_of_attempt_rank_segment_and_part(run_dir):
    names = [
        "0001-00000-000001.parquet",
        "0001-00000-000001.p1.parquet",
        "0001-00000-000001.p2.parquet",
        "0001-00000-000001.p10.parquet",
        "0001-00000-000002.journal",
        "0001-00001-000001.parquet",
        "0002-00000-000001.parquet",
    ]
    put(run_dir, *reversed(names))
    assert listed(run_dir) == names


def test_a_journal_counts_until_its_segment_is_there(run_dir):
    put(run_dir, "0001-00000-000001.journal")
    assert listed(run_dir) == ["0001-00000-000001.journal"]
    put(run_dir, "0001-00000-000001.parquet")
    assert listed(run_dir) == ["0001-00000-000001.parquet"]


def test_parts_count_only_when_part_0_is_there_which_is_written_last(run_dir):
    put(run_dir, "0001-00000-000001.p1.parquet", "0001-00000-000001.journal")
    assert listed(run_dir) == ["0001-00000-000001.journal"]


def test_links_folders_and_pipes_named_like_segments_are_left_out(run_dir, tmp_path):
    outside = tmp_path / "secret.parquet"
    outside.write_bytes(b"secret")
    folder = run_dir / "scalars"
    (folder / "0001-00000-000001.parquet").symlink_to(outside)
    (folder / "0001-00000-000002.parquet").mkdir()
    os.mkfifo(folder / "0001-00000-000003.parquet")
    (folder / "0001-00000-000004.journal").symlink_to(folder)
    assert listed(run_dir) == []


def test_links_named_like_process_files_are_left_out(tmp_path):
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "0001-00000.json").write_text("{}")
    (tmp_path / "summary" / "0002-00000.json").symlink_to(tmp_path / "summary" / "0001-00000.json")
    found = layout.list_process_files(tmp_path, "summary")
    assert [(attempt, rank) for attempt, rank, _ in found] == [(1, 0)]


def test_a_missing_segment_number_is_named(run_dir):
    put(run_dir, "0001-00000-000001.parquet", "0001-00000-000004.journal", "0002-00001-000002.parquet")
    assert layout.list_gaps(layout.list_segments(run_dir)) == [
        "segment 2 of attempt 1, rank 0 is missing: its rows are lost",
        "segment 3 of attempt 1, rank 0 is missing: its rows are lost",
        "segment 1 of attempt 2, rank 1 is missing: its rows are lost",
    ]


def test_a_run_without_its_folders_has_no_files(tmp_path):
    assert layout.list_segments(tmp_path) == []
    assert layout.list_process_files(tmp_path, "summary") == []


def test_a_run_is_a_real_folder_with_a_regular_run_json(tmp_path):
    run = tmp_path / "a"
    run.mkdir()
    assert not layout.is_run_dir(run)
    (run / "run.json").write_text("{}")
    assert layout.is_run_dir(run)
    (tmp_path / "b").symlink_to(run)
    assert not layout.is_run_dir(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").symlink_to(run / "run.json")
    assert not layout.is_run_dir(tmp_path / "c")


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "🔥" * 50, "\0", "\udc80", "a" * 1_000, "CON", "a/b%2Fc", ".."]
)
def test_any_name_makes_an_id_that_is_safe_as_a_folder(name):
    run_id = layout.make_run_id(name)
    assert layout.is_run_id(run_id)
    assert len(run_id) <= 64
    assert run_id == run_id.encode("ascii").decode()
    assert "/" not in run_id


def test_two_ids_of_one_name_differ():
    assert len({layout.make_run_id("digits") for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a" * 81, "a\n", "a\0"])
def test_no_path_is_a_run_id(text):
    assert not layout.is_run_id(text)
