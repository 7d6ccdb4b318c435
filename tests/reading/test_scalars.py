import os
import shutil
import threading
import time

import numpy as np
import pytest

from explorer import Recorder
from explorer.reading.runs import open_run
from explorer.reading.scalars import SeriesStore
from explorer.storage.layout import SegmentName


@pytest.fixture
def store():
    return SeriesStore(fresh_s=0)


def same(series, expected):
    step, value, wall_us = expected
    assert series.step.tolist() == step.tolist()
    assert np.array_equal(series.value, value, equal_nan=True)
    assert series.wall_us.tolist() == wall_us.tolist()


def test_a_series_is_what_pandas_reads_from_the_segments(run, store):
    run.segment(1, step=[0, 1, 2], **{"train/loss": [3.0, 2.5, 2.0], "lr": [0.1, 0.1, 0.1]})
    run.segment(2, step=[3, 4], **{"train/loss": [1.5, 1.0], "val/loss": [None, 9.0]})
    for metric in ("train/loss", "lr", "val/loss"):
        same(store.series(run.path, metric), run.newest(metric))


def test_values_come_back_bit_by_bit(run, store):
    odd = [np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1, 1.7976931348623157e308]
    run.segment(1, step=list(range(7)), loss=odd)
    assert store.series(run.path, "loss").value.tobytes() == np.array(odd).tobytes()


def test_rows_where_a_metric_was_not_logged_are_not_its_points_but_nan_is(run, store):
    run.segment(1, step=[0, 1, 2, 3], loss=[1.0, None, float("nan"), 4.0])
    series = store.series(run.path, "loss")
    assert series.step.tolist() == [0, 2, 3]
    assert np.isnan(series.value[1])


def test_an_unknown_metric_is_an_empty_series(run, store):
    run.segment(1, step=[0], loss=[1.0])
    assert len(store.series(run.path, "nothing")) == 0
    assert len(store.series(run.path.parent / "no-run", "loss")) == 0


def test_what_a_run_gave_up_when_it_was_resumed_is_not_mixed_into_what_came_instead(run, store):
    run.segment(1, attempt=1, step=[0, 10, 20, 30, 40, 50], loss=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    run.segment(1, attempt=2, step=[15, 25, 35], loss=[0.5, 0.4, 0.3])
    series = store.series(run.path, "loss")
    same(series, run.newest("loss"))
    assert series.step.tolist() == [0, 10, 15, 25, 35]
    assert series.value.tolist() == [1.0, 2.0, 0.5, 0.4, 0.3]
    assert series.num_replaced == 4
    assert open_run(run.path).scalars("loss")["loss"].tolist() == series.value.tolist()
    assert len(open_run(run.path).scalars("loss", all_attempts=True)) == 9


def test_an_attempt_that_goes_on_behind_the_last_step_replaces_nothing(run, store):
    run.segment(1, attempt=1, step=[0, 10], loss=[1.0, 2.0])
    run.segment(1, attempt=2, step=[20, 15, 30], loss=[3.0, 2.5, 4.0])
    series = store.series(run.path, "loss")
    assert series.step.tolist() == [0, 10, 15, 20, 30]
    assert series.num_replaced == 0


def test_the_older_attempt_shows_where_the_newer_one_did_not_log_this_metric(run, store):
    run.segment(1, attempt=1, step=[0, 1], loss=[1.0, 2.0], accuracy=[0.1, 0.2])
    run.segment(1, attempt=2, step=[1, 2], loss=[20.0, 30.0])
    assert store.series(run.path, "accuracy").value.tolist() == [0.1, 0.2]


@pytest.mark.parametrize("seed", range(5))
def test_steps_out_of_order_repeated_and_negative_are_sorted_and_the_last_one_wins(run, store, seed, noise):
    rng = np.random.default_rng(seed)
    for attempt in (1, 2, 3):
        for segment in (1, 2):
            steps = rng.integers(-20, 60, 50).tolist()
            wall = rng.integers(0, 10**9, 50).tolist()
            run.segment(segment, attempt=attempt, step=steps, wall_us=wall, loss=noise(50, seed + attempt))
    same(store.series(run.path, "loss"), run.newest("loss"))


def test_rank_0_is_shown_and_others_when_asked_for(run, store):
    for rank in (0, 1, 3):
        run.segment(1, rank=rank, step=[0, 1], loss=[float(rank), 2.0])
    assert store.series(run.path, "loss").value[0] == 0
    assert store.series(run.path, "loss", rank=3).value[0] == 3
    assert len(store.series(run.path, "loss", rank=2)) == 0
    assert store.ranks(run.path) == [0, 1, 3]


def test_without_rank_0_the_lowest_rank_is_shown(run, store):
    run.segment(1, rank=2, step=[0], loss=[2.0])
    assert store.series(run.path, "loss").value.tolist() == [2.0]


def test_system_metrics_are_another_table(run, store):
    run.segment(1, table="system", step=[0, 1], **{"system/cpu_percent": [10.0, 20.0]})
    assert store.series(run.path, "system/cpu_percent", table="system").value.tolist() == [10.0, 20.0]
    assert len(store.series(run.path, "system/cpu_percent")) == 0


def test_a_metric_called_step_is_a_metric(run, store):
    run.segment(1, step=[5, 6], **{"metric:step": [50.0, 60.0]})
    series = store.series(run.path, "step")
    assert (series.step.tolist(), series.value.tolist()) == ([5, 6], [50.0, 60.0])


def test_parts_of_a_segment_are_columns_of_their_own(run, store):
    run.segment(1, parts=[{"step": [0, 1], "a": [1.0, 2.0]}, {"step": [0, 2], "b": [3.0, 4.0]}])
    assert store.series(run.path, "b").step.tolist() == [0, 2]
    os.remove(run.path / "scalars" / SegmentName(1, 0, 1, 1).filename)
    assert "part 1" in store.series(run.path, "a").problems[0]


# Growth


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


# Damage


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
