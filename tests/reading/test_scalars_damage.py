"""Damaged, cut, missing and foreign files of scalars: each costs its own rows and is named."""

import numpy as np
import pytest

from explorer.reading.scalars import SeriesStore
from explorer.storage.layout import SegmentName


def test_a_damaged_segment_costs_its_own_rows_and_is_named(run, store, flip_byte):
    for segment in (1, 2, 3):
        path = run.segment(segment, step=[segment], loss=[float(segment)])
        if segment == 2:
            flip_byte(path, path.stat().st_size // 2)
    series = store.series(run.path, "loss")
    assert series.step.tolist() == [1, 3]
    assert series.problems[0].startswith("0001-00000-000002.parquet: ")


def test_no_flipped_byte_gives_a_wrong_number(run, noise, flip_byte):
    path = run.segment(1, step=list(range(40)), loss=noise(40))
    truth = SeriesStore(fresh_s=0).series(run.path, "loss")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        flip_byte(path, at)
        series = SeriesStore(fresh_s=0).series(run.path, "loss")
        assert series.problems or series.value.tolist() == truth.value.tolist(), at
        if series.problems:
            assert len(series) == 0
        path.write_bytes(whole)


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_cut_segment_is_named(run, store, kept):
    path = run.segment(1, step=[0], loss=[1.0])
    path.write_bytes(path.read_bytes()[:kept])
    run.segment(2, step=[1], loss=[2.0])
    series = store.series(run.path, "loss")
    assert series.step.tolist() == [1]
    assert len(series.problems) == 1


def test_segments_that_were_swapped_are_both_refused(run, store):
    first, second = (run.segment(segment, step=[segment], loss=[1.0]) for segment in (1, 2))
    first.rename(first.with_suffix(".x"))
    second.rename(first)
    first.with_suffix(".x").rename(second)
    series = store.series(run.path, "loss")
    assert len(series) == 0
    assert [problem.partition(": ")[2] for problem in series.problems] == [
        "belongs to another place than its name says"
    ] * 2


def test_a_segment_that_is_not_there_is_a_gap(run, store):
    for segment in (1, 2, 4):
        run.segment(segment, step=[segment], loss=[1.0])
    series = store.series(run.path, "loss")
    assert series.step.tolist() == [1, 2, 4]
    assert "segment 3" in series.problems[0]


def test_links_and_foreign_files_are_not_read(run, store, tmp_path, make_run):
    run.segment(1, step=[0], loss=[1.0])
    other = make_run("other-run").segment(2, step=[1], loss=[666.0])
    folder = run.path / "scalars"
    (folder / SegmentName(1, 0, 2).filename).symlink_to(other)
    (folder / "notes.txt").write_text("mine")
    (folder / ".0001-00000-000003.parquet.tmp").write_bytes(b"half")
    (folder / "0001-00000-000004.parquet").mkdir()
    series = store.series(run.path, "loss")
    assert series.value.tolist() == [1.0]


def test_a_table_that_is_a_link_to_elsewhere_is_not_followed(run, store, make_run):
    other = make_run("other-run")
    other.segment(1, step=[0], loss=[666.0])
    (run.path / "scalars").rmdir()
    (run.path / "scalars").symlink_to(other.path / "scalars")
    assert len(store.series(run.path, "loss")) == 0


def test_a_damaged_row_in_a_journal_costs_that_row(run, store, noise, flip_byte):
    run.summary(state="killed")
    journal = run.journal(1)
    journal.rows(step=list(range(200)), loss=noise(200))
    data = journal.path.read_bytes()
    at = data.index(np.float64(noise(200)[100]).tobytes())
    flip_byte(journal.path, at)
    series = store.series(run.path, "loss")
    assert 100 not in series.step
    assert len(series) == 199
    assert "damaged" in series.problems[0]


def test_a_journal_that_is_none_is_named(run, store):
    run.segment(1, step=[0], loss=[1.0])
    (run.path / "scalars" / SegmentName(1, 0, 2, 0, "journal").filename).write_bytes(b"hello" * 100)
    series = store.series(run.path, "loss")
    assert len(series) == 1
    assert series.problems[0].startswith("0001-00000-000002.journal: ")
