"""Recorders that are copied, pickled, closed by hand, forgotten, or end in an unusual way."""

import copy
import io
import json
import pickle
import sys
import threading
import warnings

import pytest

from explorer import Recorder, RecorderWarning, UsageError
from explorer.recording import exits
from explorer.recording.stream import Row


class Trainer:
    def __init__(self, recorder):
        self.recorder, self.width = recorder, 3


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_what_holds_a_recorder_records_the_same_run(record, rows_of, copied):
    trainer = Trainer(record())
    other = copied(trainer)
    assert other.recorder is trainer.recorder
    other.recorder.log({"a": 1.0})
    trainer.recorder.log({"a": 2.0})
    trainer.recorder.close()
    assert [row["a"] for *_, row in rows_of(trainer.recorder.path)] == [1.0, 2.0]


def test_a_pickled_recorder_comes_back_off_and_knows_its_run(record, rows_of):
    recorder = record(config={"lr": 0.1})
    recorder.log({"a": 1.0})
    other = pickle.loads(pickle.dumps(Trainer(recorder))).recorder
    assert isinstance(other, Recorder)
    assert (other.run_id, other.path, dict(other.config)) == (recorder.run_id, recorder.path, {"lr": 0.1})
    other.log({"a": 2.0})
    other.close()
    recorder.close()
    assert len(rows_of(recorder.path)) == 1


def test_close_takes_the_state_from_the_error(record, summary_of):
    recorder = record()
    recorder.close(error=ValueError("out of range"))
    assert summary_of(recorder)["state"] == "failed"
    assert summary_of(recorder)["error"]["message"] == "out of range"


def test_close_refuses_a_state_that_nobody_knows(record):
    recorder = record()
    with pytest.raises(UsageError, match='"finished", "failed" or "killed"; found \'done\''):
        recorder.close(state="done")
    recorder.log({"a": 1.0})  # it is open as before


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_an_error_without_a_text_still_closes_the_run(tmp_path, summary_of):
    recorder = Recorder(root=tmp_path, system_every_s=None, quiet=True)
    with pytest.raises(Speechless), recorder:
        raise Speechless
    summary = summary_of(recorder)
    assert (summary["state"], summary["error"]["type"]) == ("failed", "Speechless")
    assert "raise Speechless" in summary["error"]["traceback"]


class Broken:
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [Broken(), None])
@pytest.mark.filterwarnings("error")
def test_a_closed_standard_error_raises_nothing(record, summary_of, monkeypatch, stream, capsys):
    monkeypatch.setattr(sys, "stderr", stream)
    recorder = record(quiet=False)
    recorder.log({"a": "text"})
    recorder.close()
    assert summary_of(recorder)["state"] == "finished"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("how", ["closed", "own"])
def test_whoever_shows_warnings_may_raise_without_reaching_the_training_or_the_writer(
    record, summary_of, monkeypatch, how
):
    def fail(*_, **__):
        raise RuntimeError("a hook of the user's")

    recorder = record()
    if how == "own":
        monkeypatch.setattr(warnings, "showwarning", fail)
    else:
        stream = io.StringIO()
        stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(warnings, "showwarning", warnings._showwarning_orig)
    recorder.log({"a": "text"})
    failing = [OSError(28, "No space left on device"), Speechless()]

    def work():
        raise failing.pop()

    assert not recorder._writer._guard("first", work)
    assert not recorder._writer._guard("second", work)
    assert recorder._writer.is_alive()
    recorder.log({"a": 1.0})
    recorder.close()
    assert summary_of(recorder)["rows"] == 1
    assert "(the error has no text)" in summary_of(recorder)["warnings"][1]


def test_an_error_of_before_is_not_that_of_a_run_left_open(record, summary_of, monkeypatch):
    name = "last_exc" if hasattr(sys, "last_exc") else "last_value"
    monkeypatch.setattr(sys, name, ValueError("of another cell of the notebook"), raising=False)
    recorder = record()
    recorder._exits._at_exit()
    assert summary_of(recorder)["state"] == "finished"
    later = record()
    monkeypatch.setattr(sys, name, KeyError("of the training"))
    later._exits._at_exit()
    assert json.loads((later.path / "summary" / "0001-00000.json").read_text())["error"]["type"] == "KeyError"


def test_ten_thousand_bad_metrics_give_fifty_warnings_and_leave_room_for_others(record, summary_of):
    recorder = record()
    with pytest.warns(RecorderWarning) as said:
        [recorder.log({f"note/{step}": "text"}, step=step) for step in range(10_000)]
    assert len(said) == 50
    assert "further ones are not shown" in str(said[-1].message)
    with pytest.warns(RecorderWarning, match="the disk"):
        recorder._notices.warn("disk", "the disk is full")
    recorder.close()
    assert summary_of(recorder)["refused_values"] == 10_000
    assert summary_of(recorder)["warnings"][-1] == "the disk is full"


def test_state_after_knows_how_a_training_ends():
    ends = [None, SystemExit(0), SystemExit(1), KeyboardInterrupt(), ValueError(), GeneratorExit()]
    assert [exits.state_after(end) for end in ends] == [
        "finished", "finished", "failed", "killed", "failed", "finished",
    ]  # fmt: skip


def test_a_close_that_takes_too_long_says_what_is_not_on_disk_yet(record, monkeypatch):
    recorder = record()
    recorder.log({"a": 1.0})
    go_on = threading.Event()

    def never_end():  # called by the writer thread, which is busy with something else from here on
        recorder._stream._keep(Row(1, 0, ("a",), "d", (1.0,)))
        go_on.wait(20)

    monkeypatch.setattr("explorer.recording.recorder.CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(recorder._writer, "_finish", never_end)
    with pytest.warns(RecorderWarning, match=r"takes longer than .*a busy CPU.* but for 1 that are dropped"):
        recorder.close()
    go_on.set()
