import os

import numpy as np
import pytest

from explorer.reading.runs import open_run
from explorer.storage.layout import SegmentName
from tests.reading.series import same


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
