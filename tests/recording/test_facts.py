"""Facts about the machine and the code come when they come; nothing waits for them."""

import json
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch


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


def test_torch_imported_after_the_recorder_costs_no_fact_and_no_later_setting(record, monkeypatch):
    half = ModuleType("torch")
    half.__spec__ = ModuleSpec("torch", None)
    half.__spec__._initializing = True  # as while another thread imports it
    with monkeypatch.context() as meanwhile:
        meanwhile.setitem(sys.modules, "torch", half)
        recorder = record(config={"lr": 1})
        until = time.monotonic() + 20
        while "git" not in recorder._writer._facts and time.monotonic() < until:
            time.sleep(0.01)
    torch.manual_seed(1234)
    recorder.update_config({"num_parameters": 5})
    recorder.close()
    found = attempt_of(recorder)
    assert found["config"] == {"lr": 1, "num_parameters": 5}
    assert found["seed"]["torch"] == 1234
    assert found["environment"]["versions"]["torch"]
    assert "git" in found


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
def test_a_fact_that_fails_costs_neither_the_others_nor_later_settings(record, summary_of, monkeypatch):
    def fail():
        raise AttributeError("partially initialized module")

    monkeypatch.setattr("explorer.recording.environment.describe_environment", fail)
    recorder = record()
    recorder.update_config({"later": 5})
    recorder.close()
    found = attempt_of(recorder)
    assert "environment" not in found
    assert {"git", "seed"} <= found.keys()
    assert found["config"] == {"later": 5}
    assert "environment could not be found out" in summary_of(recorder)["warnings"][0]
