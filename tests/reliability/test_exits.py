"""However a training ends, its rows are there and its summary says how it ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

from explorer import Recorder, RecorderWarning
from explorer.storage import process, records


@pytest.fixture
def end(fork, tmp_path, rows_of):
    """`end(job, how)` runs a child to its end: (number of rows, summary)."""

    def run(job, how):
        child = fork(job, root=str(tmp_path), run_id="ended", how=how)
        until = time.monotonic() + 20
        while process.process_start(child) is not None and time.monotonic() < until:
            time.sleep(0.005)
        assert process.process_start(child) is None, "the child hangs"
        run_dir = tmp_path / "ended"
        rows = rows_of(run_dir)
        assert [step for *_, step, _ in rows] == list(range(len(rows)))
        summary = records.read_record(run_dir / "summary" / "0001-00000.json")
        return len(rows), summary

    return run


@pytest.mark.parametrize(
    ("how", "state", "error"),
    [
        ("nothing", "finished", None),
        ("sys.exit(0)", "finished", None),
        ("sys.exit", "failed", "SystemExit"),
        ("exception", "failed", "ValueError"),
        ("KeyboardInterrupt", "killed", "KeyboardInterrupt"),
        ("sigterm", "killed", None),
        ("sigterm with a handler", "killed", None),
    ],
)
def test_an_end_that_python_sees_is_in_the_summary(end, tmp_path, how, state, error):
    rows, summary = end("end_with", how)
    assert rows == summary["rows"] == 100
    assert summary["state"] == state
    assert (summary["error"] or {}).get("type") == error
    assert (tmp_path / "handler-was-called").exists() == (how == "sigterm with a handler")


def test_an_error_is_kept_with_its_text_and_traceback(end):
    _, summary = end("end_with", "exception")
    assert summary["error"]["message"] == "the loss is NaN � �"
    assert "end_with" in summary["error"]["traceback"]
    assert "raise ValueError" in summary["error"]["traceback"]


@pytest.mark.parametrize("how", ["os._exit", "segfault"])
def test_an_end_that_nobody_sees_costs_no_row(end, how, tmp_path):
    rows, summary = end("end_with", how)
    assert rows == 100
    assert summary["state"] == "running"
    assert process.is_gone(summary)  # by which readers know better


@pytest.mark.parametrize(("how", "state"), [("nothing", "finished"), ("exception", "failed")])
def test_a_recorder_that_nobody_closed_is_closed_at_the_end(end, how, state):
    rows, summary = end("end_without_with", how)
    assert rows == summary["rows"] == 100
    assert summary["state"] == state


def send_sigterm(handler, root):
    """The recorder after SIGTERM reached a process that had this handler before."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        recorder = Recorder("signal", root=root, system_every_s=None, quiet=True)
        recorder.log({"a": 1.0})
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)  # the interpreter calls the handler at its next opportunity
        finally:
            recorder.log({"a": 2.0})
        return recorder
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_training_whose_handler_of_sigterm_returns_goes_on_recording(tmp_path):
    called = []
    recorder = send_sigterm(lambda *_: called.append("old"), tmp_path)
    recorder.close()
    assert called == ["old"]
    summary = records.read_record(recorder.path / "summary" / "0001-00000.json")
    assert (summary["state"], summary["rows"]) == ("finished", 2)


def test_a_run_whose_handler_of_sigterm_exits_was_killed(tmp_path):
    def leave(*_):
        raise SystemExit(0)

    with pytest.warns(RecorderWarning, match="after close"), pytest.raises(SystemExit):
        send_sigterm(leave, tmp_path)
    (path,) = tmp_path.glob("*/summary/0001-00000.json")
    summary = records.read_record(path)
    assert (summary["state"], summary["rows"]) == ("killed", 1)


def test_closing_gives_the_handler_of_sigterm_back(tmp_path):

    before = signal.getsignal(signal.SIGTERM)
    with Recorder("signal", root=tmp_path, system_every_s=None, quiet=True):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


TWO_RECORDERS = """
import os, signal, sys, time
from explorer import Recorder
older, newer = (Recorder(name, root=sys.argv[1], run_id=name, quiet=True, system_every_s=None) for name in "ab")
if sys.argv[2] == "closed":
    older.close()
newer.log({"x": 1.0})
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(20)
"""


@pytest.mark.parametrize(("older", "state"), [("open", "killed"), ("closed", "finished")])
def test_sigterm_closes_every_recorder_and_ends_the_process(tmp_path, older, state):
    child = subprocess.run([sys.executable, "-c", TWO_RECORDERS, str(tmp_path), older], timeout=60)
    assert child.returncode == -signal.SIGTERM
    summaries = [records.read_record(tmp_path / name / "summary" / "0001-00000.json") for name in "ab"]
    assert [summary["state"] for summary in summaries] == [state, "killed"]
    assert summaries[1]["rows"] == 1


def test_recorders_closed_in_any_order_give_the_handler_of_sigterm_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    older, newer = (Recorder(root=tmp_path, system_every_s=None, quiet=True) for _ in range(2))
    older.close()
    newer.close()
    assert signal.getsignal(signal.SIGTERM) == before
