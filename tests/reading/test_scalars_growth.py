"""Series of a run that grows, is resumed, sealed or deleted while it is followed."""

import os
import shutil
import threading
import time

import numpy as np
import pytest

from explorer import Recorder
from explorer.reading.scalars import SeriesStore
from explorer.storage.layout import SegmentName


def test_nothing_new_gives_the_same_object(run, store):
    run.segment(1, step=[0], loss=[1.0])
    assert store.series(run.path, "loss") is store.series(run.path, "loss")


def test_rows_in_the_journal_are_seen_at_once(run, store):
    journal = run.journal(1)
    journal.rows(step=[0, 1], loss=[1.0, 2.0])
    before = store.series(run.path, "loss")
    journal.rows(step=[2], loss=[3.0])
    journal.rows(step=[2], accuracy=[0.5])
    after = store.series(run.path, "loss")
    assert before.value.tolist() == [1.0, 2.0]
    assert after.value.tolist() == [1.0, 2.0, 3.0]
    assert after.wall_us.tolist() == [run.first_wall_us + 1_000 * (row + 1) for row in range(3)]
    assert before.wall_us.tolist() == after.wall_us.tolist()[:2]
    assert store.series(run.path, "accuracy").step.tolist() == [2]


def test_a_journal_that_becomes_a_segment_changes_nothing(run, store):
    run.segment(1, step=[0, 1], loss=[0.0, float("nan")])
    journal = run.journal(2)
    journal.rows(step=[2, 3], loss=[2.0, float("nan")])
    before = store.series(run.path, "loss")
    run.segment(2, step=[2, 3], loss=[2.0, float("nan")])
    os.remove(journal.path)
    assert store.series(run.path, "loss") is before


def test_a_segment_may_hold_more_than_was_seen_of_its_journal(run, store):
    journal = run.journal(1)
    journal.rows(step=[2, 3], loss=[2.0, 3.0])
    store.series(run.path, "loss")
    run.segment(1, step=[2, 3, 4], loss=[2.0, 3.0, 4.0])
    run.journal(2).rows(step=[5], loss=[5.0])
    assert store.series(run.path, "loss").value.tolist() == [2.0, 3.0, 4.0, 5.0]


def test_a_segment_that_differs_from_its_journal_is_believed(run, store):
    journal = run.journal(1)
    journal.rows(step=[0, 1], loss=[1.0, 2.0])
    before = store.series(run.path, "loss")
    run.segment(1, step=[0, 1], loss=[1.0, 7.0])
    assert store.series(run.path, "loss").value.tolist() == [1.0, 7.0]
    assert before.value.tolist() == [1.0, 2.0]


def test_new_segments_are_added_without_reading_the_old_ones_again(run, store):
    run.segment(1, step=[0, 1], loss=[0.0, 1.0])
    before = store.series(run.path, "loss")
    path = run.path / "scalars" / SegmentName(1, 0, 1).filename
    kept = path.stat()
    path.write_bytes(bytes(kept.st_size))  # unreadable now, though it looks the same
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    run.segment(2, step=[2], loss=[2.0])
    after = store.series(run.path, "loss")
    assert after.value.tolist() == [0.0, 1.0, 2.0]
    assert before.value.tolist() == [0.0, 1.0]


def test_a_resumed_run_that_is_followed_live_goes_on_from_where_it_was_resumed(run, store):
    run.segment(1, attempt=1, step=[0, 1, 2, 3, 4], loss=[0.0, 1.0, 2.0, 3.0, 4.0])
    before = store.series(run.path, "loss")
    journal = run.journal(1, attempt=2)
    for step in (2, 3, 4, 5):
        journal.rows(step=[step], loss=[step * 10.0])
        series = store.series(run.path, "loss")
        assert series.value.tolist() == [10.0 * s if s >= 2 else float(s) for s in range(step + 1)]
        assert series.num_replaced == 3
        assert len(series.wall_us) == step + 1
    assert before.value.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_run_that_a_recorder_is_writing_is_read_on_from_where_it_was_left(tmp_path, store):
    with Recorder("live", root=tmp_path, run_id="live", quiet=True, system_every_s=None) as rec:
        rec.log({"loss": 0.0}, step=0)
        first = wait_for(lambda: store.series(tmp_path / "live", "loss"), 1)
        for step in range(1, 4):
            rec.log({"loss": float(step)}, step=step)
            series = wait_for(lambda: store.series(tmp_path / "live", "loss"), step + 1)
            assert series._generation == first._generation, "everything was read again for one more row"
        assert len(list((tmp_path / "live" / "scalars").glob("*.journal"))) > 1, "no empty journal stood ready"


def wait_for(look, num):
    for _ in range(200):
        if len(series := look()) == num:
            return series
        time.sleep(0.02)
    raise AssertionError(f"{len(series)} points instead of {num} after 4 s")


def test_series_never_change_and_cannot_be_written(run, store):
    run.segment(1, step=[0], loss=[1.0])
    series = store.series(run.path, "loss")
    for array in (series.step, series.value, series.wall_us):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def test_metrics_that_were_logged_together_share_their_steps(run, store, noise):
    for segment in (1, 2):
        steps = list(range(100 * segment, 100 * segment + 100))
        run.segment(segment, step=steps, a=noise(100), b=noise(100), c=[None, *noise(99)])
    a, b, c = (store.series(run.path, name) for name in "abc")
    assert np.shares_memory(a.step, b.step)
    assert c.step.tolist() == a.step.tolist()[1:100] + a.step.tolist()[101:]


def test_blocks_grow_with_the_series(run, store, noise):
    journal = run.journal(1)
    values = noise(900)
    for start in range(0, 900, 150):
        journal.rows(step=list(range(start, start + 150)), loss=values[start : start + 150])
        series = store.series(run.path, "loss")
        low, _ = series.blocks.extremes(series.value, np.array([0]), np.array([len(series)]))
        assert series.value[low[0]] == min(values[: start + 150])


def test_a_run_that_was_deleted_is_empty_and_what_was_read_of_it_stays(run, store):
    run.segment(1, step=[0], loss=[1.0])
    before = store.series(run.path, "loss")
    shutil.rmtree(run.path)
    assert len(store.series(run.path, "loss")) == 0
    assert before.value.tolist() == [1.0]


def test_the_least_recently_used_series_are_let_go(make_run, noise):
    store = SeriesStore(max_bytes=50_000, fresh_s=0)
    runs = [make_run(f"run-{index}") for index in range(5)]
    for run in runs:
        run.segment(1, step=list(range(2_000)), loss=noise(2_000))
    first = store.series(runs[0].path, "loss")
    for run in runs[1:]:
        store.series(run.path, "loss")
    again = store.series(runs[0].path, "loss")
    assert again is not first
    assert again.value.tolist() == first.value.tolist()


def test_looks_that_follow_each_other_at_once_share_one(run):
    store = SeriesStore(fresh_s=60)
    journal = run.journal(1)
    journal.rows(step=[0], loss=[1.0])
    assert len(store.series(run.path, "loss")) == 1
    journal.rows(step=[1], loss=[2.0])
    assert len(store.series(run.path, "loss")) == 1


def test_many_threads_see_whole_series_while_a_run_grows(run, store):
    journal = run.journal(1)
    journal.rows(step=[0], a=[0.0], b=[0.0])
    failures, stop = [], threading.Event()

    def look():
        shown = 0
        while not stop.is_set():
            for metric in ("a", "b"):
                series = store.series(run.path, metric)
                good = (
                    series.step.tolist() == list(range(len(series))) and series.value.tolist() == series.step.tolist()
                )
                if not good or len(series) < shown * (metric == "a") or len(series.wall_us) != len(series):
                    failures.append(len(series))
                shown = len(series) if metric == "a" else shown

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(1, 300):
        journal.rows(step=[step], a=[float(step)], b=[float(step)])
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.series(run.path, "a")) == 300
