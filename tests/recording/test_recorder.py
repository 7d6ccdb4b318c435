"""What a user of the recorder sees."""

import json
import os
import subprocess
import sys
import threading

import pytest

from explorer import Recorder, RecorderWarning, RootError, UsageError


def test_three_lines_record_a_run(tmp_path, rows_of):
    with Recorder("digits-cnn", config={"lr": 1e-3}, root=tmp_path) as rec:
        for step in range(100):
            rec.log({"train/loss": 1 / (1 + step)}, step=step)
    assert rows_of(rec.path) == [(1, 0, step, {"train/loss": 1 / (1 + step)}) for step in range(100)]
    assert rec.path.parent == tmp_path
    assert rec.path.name == rec.run_id


def test_a_finished_run_holds_only_whole_files_of_known_names(record):
    recorder = record()
    recorder.log({"a": 1.0})
    recorder.close()
    files = sorted(str(path.relative_to(recorder.path)) for path in recorder.path.rglob("*") if path.is_file())
    files = [name for name in files if name != "git.diff"]
    assert files == [
        "attempts/0001-00000.json",
        "run.json",
        "scalars/0001-00000-000001.parquet",
        "summary/0001-00000.json",
    ]


def test_what_the_user_says_of_a_run_is_in_it(record, summary_of):
    recorder = record("Ünï 🔥", group="sweep", tags=["a", 7], notes="first\nsecond", config={"lr": 0.1})
    recorder.close()
    run, summary = json.loads((recorder.path / "run.json").read_text()), summary_of(recorder)
    for record_ in (run, summary):
        assert record_["name"] == "Ünï 🔥"
        assert record_["group"] == "sweep"
        assert record_["tags"] == ["a", "7"]
        assert record_["notes"] == "first\nsecond"
    assert run["run_id"] == recorder.run_id
    assert run["format"] == 1
    assert summary["state"] == "finished"


def test_the_summary_holds_the_totals_of_every_metric(record, summary_of):
    recorder = record()
    for step, value in enumerate([3.0, 1.0, float("nan"), 5.0, float("inf"), 2.0]):
        recorder.log({"loss": value}, step=10 * step)
    recorder.close()
    summary = summary_of(recorder)
    assert summary["metrics"]["loss"] == [6, 2.0, 50, 1.0, 10, 5.0, 30, 1, 1]
    assert (summary["rows"], summary["scalars"], summary["last_step"]) == (6, 6, 50)
    assert (summary["dropped_rows"], summary["refused_values"]) == (0, 0)


def test_a_disabled_recorder_touches_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = threading.active_count()
    with Recorder("off", enabled=False, config={"lr": 0.1}, root=tmp_path / "logs") as rec:
        rec.log({"a": 1.0}, step=3)
        rec.log("nonsense", step="nonsense")
        rec.update_config({"b": 2})
        assert rec.overhead == {}
        assert rec.last_step is None
        assert rec.path is None
    assert threading.active_count() == threads
    assert os.listdir(tmp_path) == []


def test_log_after_close_is_said_and_harmless(record, rows_of):
    recorder = record()
    for step in range(3):
        recorder.log({"a": 1.0}, step=step)
    recorder.close()
    with pytest.warns(RecorderWarning, match=r"after close\(\)"):
        recorder.log({"a": 2.0}, step=3)
    assert len(rows_of(recorder.path)) == 3


def test_closing_twice_is_fine(record):
    recorder = record()
    recorder.close()
    recorder.close()


def test_a_run_without_rows_is_a_finished_run(record, rows_of, summary_of):
    recorder = record()
    recorder.close()
    assert rows_of(recorder.path) == []
    assert summary_of(recorder)["state"] == "finished"
    assert summary_of(recorder)["rows"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": 7}, "name should be text; found int"),
        ({"name": None}, "name should be text"),
        ({"group": 7}, "group should be text"),
        ({"notes": None}, "notes should be text"),
        ({"tags": "baseline"}, "tags should be a list of texts"),
        ({"tags": 7}, "tags should be a list of texts"),
        ({"resume": True}, 'resume should be "never", "allow" or "must"'),
        ({"rank": -1}, "rank should be an integer from 0"),
        ({"rank": 100_000}, "rank should be an integer from 0"),
        ({"rank": True}, "rank should be an integer"),
        ({"system_every_s": 0}, "system_every_s should be a positive number"),
        ({"run_id": "../evil"}, "run_id should be up to 80"),
        ({"run_id": "a/b"}, "run_id should be up to 80"),
        ({"run_id": "x" * 81}, "run_id should be up to 80"),
        ({"resume": "must"}, "needs run_id="),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_written(record, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        record(**({"name": "test"} | options))
    assert os.listdir(tmp_path) == []


def test_a_root_that_is_a_file_is_named_with_what_to_do(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RootError, match=r"cannot record into .*Choose another root="):
        record(root=tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_root_that_may_not_be_written_is_named(record, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RootError, match="cannot record into"):
        record()
    tmp_path.chmod(0o700)


def test_two_recorders_in_one_process_do_not_mix(record, rows_of):
    one, two = record("one"), record("two")
    for step in range(100):
        one.log({"a": 1.0}, step=step)
        two.log({"b": 2.0}, step=step)
    one.close()
    two.close()
    assert [row for *_, row in rows_of(one.path)] == [{"a": 1.0}] * 100
    assert [row for *_, row in rows_of(two.path)] == [{"b": 2.0}] * 100


def test_system_metrics_are_recorded_on_their_own_schedule(record, rows_of):
    import time

    recorder = record(system_every_s=0.1)
    time.sleep(0.5)
    recorder.close()
    rows = rows_of(recorder.path, "system")
    assert len(rows) >= 2
    assert all("system/process_memory_mib" in row for *_, row in rows[1:])
    assert rows_of(recorder.path) == []


def test_its_own_cost_is_measured_stored_and_printed(tmp_path, summary_of, capsys):
    import time

    with Recorder("cost", root=tmp_path, system_every_s=None) as rec:
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            rec.log({"a": 1.0, "b": 2.0}, step=1)
            time.sleep(0.001)
        live = rec.overhead
    stored = summary_of(rec)["overhead"]
    for cost in (live, stored):
        assert cost["samples"] >= 1
        assert 0 < cost["caller_us_per_call"] < 10_000
        assert cost["writer_s"] > 0
        assert 0 < cost["fraction"] < 1
    assert stored["calls"] == summary_of(rec)["rows"]
    assert "recording took" in capsys.readouterr().err


def test_the_recorder_starts_without_pandas_streamlit_and_torch(tmp_path):
    code = (
        "import sys; from explorer import Recorder\n"
        f"with Recorder('x', root={str(tmp_path)!r}, quiet=True, system_every_s=0.05) as rec:\n"
        "    import time\n"
        "    for step in range(50):\n"
        "        rec.log({'a': 0.5, 'n': step}, step=step); rec.log({'b': 1.5, 'big': 2**60}, step=step)\n"
        "    time.sleep(0.2)\n"
        "found = {'pandas', 'streamlit', 'torch', 'altair', 'psutil', 'pyarrow.dataset'} & set(sys.modules)\n"
        "print(sorted(found - {'pyarrow.dataset'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_warnings_are_kept_in_the_run(record, summary_of):
    recorder = record()
    with pytest.warns(RecorderWarning):
        recorder.log({"text": "hello"})
    recorder.close()
    assert any("hello" in message for message in summary_of(recorder)["warnings"])


def test_where_warnings_are_errors_the_training_still_goes_on(record, capsys):
    record().log({"text": "hello"})  # this suite turns warnings into errors
    assert "metric 'text' was left out" in capsys.readouterr().err
