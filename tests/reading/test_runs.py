import shutil

import numpy as np
import pandas as pd
import pytest

from explorer.errors import ExplorerError, MetricNotFound, RunNotFound
from explorer.reading.catalogue import read_info
from explorer.reading.runs import open_run
from explorer.storage.layout import SegmentName


def expected(run, metrics, rank=0):
    """What a user of pandas makes of the truth: the last value logged of each metric per step."""
    series = []
    for metric in metrics:
        step, value, _ = run.newest(metric, rank)
        series.append(pd.Series(value, index=pd.Index(step, dtype="int64", name="step"), name=metric))
    return pd.concat(series, axis=1).sort_index().reset_index()


def test_one_metric_is_a_frame_of_step_time_and_value(run):
    run.segment(1, step=[0, 1, 2], **{"train/loss": [3.0, 2.5, 2.0], "lr": [0.1, None, 0.1]})
    run.segment(2, step=[3], **{"train/loss": [1.5]})
    frame = open_run(run.path).scalars("train/loss")
    assert frame.columns.tolist() == ["step", "wall_time", "train/loss"]
    assert frame.dtypes.astype(str).tolist() == ["int64", "datetime64[us]", "float64"]
    assert frame["train/loss"].tolist() == [3.0, 2.5, 2.0, 1.5]
    assert frame["wall_time"].iloc[1] == pd.Timestamp(run.first_wall_us + 1_000, unit="us")
    assert frame.attrs["problems"] == ()


@pytest.mark.parametrize("seed", range(4))
def test_several_metrics_and_attempts_are_what_pandas_makes_of_the_truth(run, seed):
    rng = np.random.default_rng(seed)
    for attempt in (1, 2):
        for segment in (1, 2):
            columns = {
                name: [float(v) if rng.random() < 0.7 else None for v in rng.normal(size=40)]
                for name in ("a", "b", "c")
            }
            run.segment(segment, attempt=attempt, step=rng.integers(0, 70, 40).tolist(), **columns)
    frame = open_run(run.path).scalars(["c", "a"])
    pd.testing.assert_frame_equal(frame.drop(columns="wall_time"), expected(run, ["c", "a"]))


def test_all_attempts_keep_every_row(run):
    for attempt, rank in ((1, 0), (2, 0), (1, 1)):
        steps = [1, 0, 1] if rank == 0 else [5, 6, 7]
        run.segment(1, attempt=attempt, rank=rank, step=steps, a=[1.0, None, 3.0], b=[4.0, 5.0, None])
    frame = open_run(run.path).scalars(["a", "b"], all_attempts=True)
    truth = run.truth.sort_values(["step", "attempt", "rank"], kind="stable").reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, truth, check_dtype=False)
    assert len(open_run(run.path).scalars("a", all_attempts=True, rank=1)) == 2


def test_no_name_means_all_metrics(run):
    run.summary(metrics={"b": [1, 1.0, 0, 1.0, 0, 1.0, 0, 0, 0], "a": [1, 1.0, 0, 1.0, 0, 1.0, 0, 0, 0]})
    run.segment(1, step=[0], b=[1.0], a=[2.0])
    opened = open_run(run.path)
    assert opened.metrics == ["a", "b"]
    assert opened.scalars().columns.tolist() == ["step", "wall_time", "a", "b"]


def test_integers_beyond_two_to_the_53_stay_exact(run):
    big = 2**53 + 1
    run.segment(1, step=[0, 1], tokens=[big, big + 2], loss=[1.0, None])
    opened = open_run(run.path)
    assert opened.scalars("tokens")["tokens"].tolist() == [big, big + 2]
    run.segment(2, step=[2], loss=[3.0])
    both = opened.scalars(["loss", "tokens"])
    assert both["tokens"].tolist() == [big, big + 2, pd.NA]
    assert str(both["tokens"].dtype) == "Int64"


def test_rows_of_a_run_that_is_still_recording_are_there(run):
    run.segment(1, step=[0], loss=[1.0])
    journal = run.journal(2)
    journal.rows(step=[1, 2], loss=[2.0, 3.0])
    opened = open_run(run.path)
    assert opened.scalars("loss")["loss"].tolist() == [1.0, 2.0, 3.0]
    journal.rows(step=[3], loss=[4.0])
    assert opened.scalars("loss")["loss"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_every_whole_row_of_a_killed_run_is_there_at_the_first_look(run, flip_byte):
    run.summary(state="killed", metrics={"loss": [10, 9.0, 9, 0.0, 0, 9.0, 9, 0, 0]})
    journal = run.journal(1)
    journal.rows(step=list(range(10)), loss=[float(step) for step in range(10)])
    flip_byte(journal.path, journal.path.read_bytes().index(np.float64(7.0).tobytes()))
    frame = open_run(run.path).scalars("loss")
    assert frame["step"].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert "damaged" in frame.attrs["problems"][0]


def test_an_unknown_metric_names_those_that_come_near(run):
    run.segment(1, step=[0], **{"train/loss": [1.0], "val/loss": [1.0], "lr": [0.1]})
    with pytest.raises(MetricNotFound, match=r"no metric 'Train/los'; it has 'train/loss'"):
        open_run(run.path).scalars("Train/los")
    with pytest.raises(MetricNotFound, match="it has 'lr', 'train/loss', 'val/loss'"):
        open_run(run.path).scalars(["lr", "zzz"])


def test_a_run_without_rows_says_so(run):
    with pytest.raises(MetricNotFound, match="nothing has been logged"):
        open_run(run.path).scalars("loss")
    assert open_run(run.path).scalars().columns.tolist() == ["step", "wall_time"]


def test_a_metric_called_step_has_the_column_of_its_file(run):
    run.segment(1, step=[5], **{"metric:step": [50.0], "metric:metric:x": [1.0]})
    opened = open_run(run.path)
    assert opened.metrics == ["metric:x", "step"]
    assert opened.scalars("step").columns.tolist() == ["step", "wall_time", "metric:step"]


def test_a_damaged_segment_costs_its_own_rows_and_is_named(run, flip_byte):
    for segment in (1, 2, 4):
        path = run.segment(segment, step=[segment], loss=[float(segment)])
        if segment == 2:
            flip_byte(path, path.stat().st_size // 2)
    frame = open_run(run.path).scalars("loss")
    assert frame["step"].tolist() == [1, 4]
    assert [problem.partition(":")[0] for problem in frame.attrs["problems"]][1] == "0001-00000-000002.parquet"
    assert "segment 3" in frame.attrs["problems"][0]


def test_system_metrics_are_a_frame_too(run):
    run.segment(1, table="system", step=[0, 1], **{"system/cpu_percent": [10.0, 20.0]})
    assert open_run(run.path).system()["system/cpu_percent"].tolist() == [10.0, 20.0]
    assert open_run(run.path).system("system/cpu_percent").shape == (2, 3)


def test_the_facts_are_those_of_the_newest_attempt(run):
    run.summary(attempt=1, state="killed", rows=10)
    run.summary(attempt=2, rows=20)
    run.attempt(1, environment={"python": "3.10"}, git={"commit": "abc"}, seed={"torch": 1}, host="one", pid=7)
    run.attempt(2, environment={"python": "3.11"}, resumed_from_step=99, argv=["train.py", "--resume"])
    run.attempt(2, rank=1, environment={"python": "3.12"})
    (run.path / "git.diff").write_text("+ é\n", encoding="utf-8")
    opened = open_run(run.path)
    assert opened.environment == {"python": "3.11"}
    assert opened.git == {"commit": "abc"}
    assert opened.seed == {"torch": 1}
    assert opened.argv == ("train.py", "--resume")
    assert opened.git_diff == "+ é\n"
    assert [(each.attempt, each.rank) for each in opened.attempts] == [(1, 0), (2, 0), (2, 1)]
    first, second, third = opened.attempts
    assert (first.state, first.rows, first.host, first.pid) == ("killed", 10, "one", 7)
    assert (second.resumed_from_step, second.state, third.state) == (99, "finished", None)
    assert opened.problems == ()


def test_damaged_records_are_named_and_cost_their_own_facts(run):
    run.summary()
    run.attempt(1, environment={"python": "3.10"})
    run.write_json("attempts/0002-00000.json", "{")
    run.write_json("run.json", "{")
    opened = open_run(run.path)
    assert opened.environment == {"python": "3.10"}
    assert [problem.partition(":")[0] for problem in opened.problems] == ["run.json", "attempts/0002-00000.json"]


def test_a_run_opens_by_folder_text_entry_or_itself(run, monkeypatch):
    run.summary()
    monkeypatch.chdir(run.path.parent)
    for way in (run.path, str(run.path), run.path.name, read_info(run.path)):
        assert open_run(way).info.run_id == run.path.name
    opened = open_run(run.path)
    assert open_run(opened) is opened
    assert run.path.name in repr(opened)


def test_a_folder_that_the_user_names_may_be_a_link_or_a_copy_of_any_name(run, tmp_path):
    run.segment(1, step=[0], loss=[1.0])
    (tmp_path / "latest").symlink_to(run.path)
    shutil.copytree(run.path, tmp_path / "My copy (2)")
    for name in ("latest", "My copy (2)"):
        assert open_run(tmp_path / name).scalars("loss")["loss"].tolist() == [1.0]


def test_a_folder_that_is_no_run_is_not_found(tmp_path):
    with pytest.raises(RunNotFound, match=r"run\.json"):
        open_run(tmp_path)
    for nothing in (tmp_path / "nowhere", "/", ""):
        with pytest.raises(ExplorerError):
            open_run(nothing)


def test_files_that_lead_out_of_the_run_are_not_read(run, make_run, tmp_path):
    run.summary()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (run.path / "git.diff").symlink_to(secret)
    other = make_run("other").segment(1, step=[0], loss=[666.0])
    shutil.copy(other, tmp_path / "segment")
    (run.path / "scalars" / SegmentName(1, 0, 1).filename).symlink_to(tmp_path / "segment")
    opened = open_run(run.path)
    assert opened.git_diff == ""
    assert len(opened.scalars("train/loss")) == 0
