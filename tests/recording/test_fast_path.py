"""Which rows take the short way through `log()`, and that they arrive as they were logged."""

import time

import pytest
import torch

from explorer import Recorder, open_run
from explorer.recording.stream import Stream


@pytest.fixture
def careful_steps(monkeypatch):
    """Steps of the rows that took the careful way."""
    steps = []
    put = Stream.put

    def counted(stream, row):
        steps.append(row.step)
        return put(stream, row)

    monkeypatch.setattr(Stream, "put", counted)
    return steps


def recorder(root):
    return Recorder("short", root=root, system_every_s=None, quiet=True)


def test_rows_take_the_short_way_again_after_a_journal_was_full(tmp_path, careful_steps):
    with recorder(tmp_path) as rec:
        for step in range(40_000):  # the first journal holds about 21,000 such rows
            rec.log({"a": 1.0, "b": 2.0}, step=step)
            if step % 1_000 == 0:
                time.sleep(0.01)  # time to get the next journal ready
    assert len(careful_steps) < 100
    assert len(open_run(rec.path).scalars("a")) == 40_000


def test_rows_of_two_kinds_in_turn_both_take_the_short_way(tmp_path, careful_steps):
    with recorder(tmp_path) as rec:
        for step in range(2_000):
            rec.log({"train/loss": step / 2}, step=step)
            rec.log({"val/loss": step / 4, "val/accuracy": 0.5}, step=step)
    assert len(careful_steps) < 50
    table = open_run(rec.path).scalars(["train/loss", "val/loss"])
    assert (table["train/loss"] == table["step"] / 2).all()
    assert (table["val/loss"] == table["step"] / 4).all()


def test_steps_that_count_by_themselves_take_the_short_way(tmp_path, careful_steps):
    with recorder(tmp_path) as rec:
        rec.log({"a": 0.0}, step=5)
        for n in range(1_000):
            rec.log({"a": float(n)})
    assert len(careful_steps) < 50
    assert open_run(rec.path).scalars("a")["step"].tolist() == list(range(5, 1_006))


def test_no_operation_runs_on_a_tensor_that_is_logged_again_and_again(tmp_path, careful_steps):
    class Watched(torch.Tensor):
        added = 0

        def __radd__(self, other):
            Watched.added += 1
            return super().__radd__(other)

    value = torch.tensor(0.25).as_subclass(Watched)
    with recorder(tmp_path) as rec:
        for step in range(20):
            rec.log({"a": value, "b": 1.0}, step=step)
    assert Watched.added == 0
    assert (open_run(rec.path).scalars("a")["a"] == 0.25).all()
