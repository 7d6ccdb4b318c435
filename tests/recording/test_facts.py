"""Facts about the machine and the code come when they come; nothing waits for them."""

import json
import threading
import time

import pytest


def attempt_of(recorder):
    return json.loads((recorder.path / "attempts" / "0001-00000.json").read_text())


def test_a_slow_git_keeps_no_row_from_the_disk(record, monkeypatch):
    known = threading.Event()

    def slow():
        known.wait(20)
        return {"commit": "abc"}, "a diff"

    monkeypatch.setattr("explorer.recording.git_state.describe_git", slow)
    monkeypatch.setattr("explorer.recording.recorder.can_map", lambda _: False)
    recorder = record()
    for step in range(100):
        recorder.log({"a": 1.0}, step=step)
    journal = recorder.path / "scalars" / "0001-00000-000001.journal"
    until = time.monotonic() + 10
    while journal.stat().st_size < 100 * 40 and time.monotonic() < until:
        time.sleep(0.01)
    assert journal.stat().st_size >= 100 * 40
    known.set()
    recorder.close()
    assert attempt_of(recorder)["git"] == {"commit": "abc"}
    assert (recorder.path / "git.diff").read_text() == "a diff"


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
def test_facts_that_cannot_be_found_out_are_said_and_cost_nothing_else(record, summary_of, monkeypatch):
    def fail():
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr("explorer.recording.git_state.describe_git", fail)
    recorder = record()
    recorder.log({"a": 1.0})
    recorder.close()
    assert "could not be found out" in summary_of(recorder)["warnings"][0]
    assert "python" in attempt_of(recorder)["environment"]
    assert summary_of(recorder)["rows"] == 1
