"""Any integer is a step, in any order; nothing recorded is refused for its step."""

import json
import time

import numpy as np
import pytest
import torch

from explorer import UsageError
from explorer.recording.stream import Row


def steps_of(rows):
    return [step for _, _, step, _ in rows]


def test_without_a_step_they_count_from_0(record, rows_of):
    recorder = record()
    for value in range(5):
        recorder.log({"a": float(value)})
    recorder.close()
    assert steps_of(rows_of(recorder.path)) == [0, 1, 2, 3, 4]


def test_without_a_step_they_count_on_from_the_last_one(record, rows_of):
    recorder = record()
    for step in (None, 10, None, -5, None, None):
        recorder.log({"a": 0.0}, step=step)
    recorder.close()
    assert steps_of(rows_of(recorder.path)) == [0, 10, 11, -5, -4, -3]
    assert recorder.last_step == -3


def test_negative_repeated_and_unordered_steps_are_kept_as_they_came(record, rows_of):
    recorder, given = record(), [5, 3, 3, -1, 2**62, 5, -(2**63), 2**63 - 1]
    for value, step in enumerate(given):
        recorder.log({"a": float(value)}, step=step)
    recorder.close()
    assert [(step, row["a"]) for _, _, step, row in rows_of(recorder.path)] == [(s, n) for n, s in enumerate(given)]


@pytest.mark.parametrize("step", [np.int64(7), np.uint8(7), np.array(7), 7.0, np.float64(7), torch.tensor(7)])
def test_an_integer_of_any_kind_is_a_step(record, rows_of, step):
    recorder = record()
    recorder.log({"a": 0.5}, step=step)
    recorder.log({"a": 0.5}, step=step)
    recorder.close()
    assert steps_of(rows_of(recorder.path)) == [7, 7]


@pytest.mark.parametrize(
    "step", [0.5, "7", True, np.True_, float("nan"), float("inf"), 2**63, -(2**63) - 1, [7], torch.tensor(0.5), 1j]
)
def test_anything_else_is_a_usage_error_that_shows_it(record, step):
    with pytest.raises(UsageError, match="step should be an integer of at most 64 bits; found"):
        record().log({"a": 0.5}, step=step)


def test_a_wrong_step_is_an_error_on_the_fast_way_too(record):
    recorder = record()
    for step in range(3):
        recorder.log({"a": 0.5}, step=step)
    for wrong in (2**63, True, 0.5):
        with pytest.raises(UsageError):
            recorder.log({"a": 0.5}, step=wrong)


def test_two_calls_of_one_step_make_one_row(record, rows_of):
    recorder = record()
    for step in range(50):
        recorder.log({"loss": float(step)}, step=step)
        recorder.log({"acc": -float(step), "lr": 0.1}, step=step)
    recorder.close()
    assert rows_of(recorder.path) == [(1, 0, n, {"loss": n, "acc": -n, "lr": 0.1}) for n in range(50)]


def test_a_metric_logged_twice_at_one_step_keeps_both(record, rows_of):
    recorder = record()
    recorder.log({"loss": 1.0}, step=0)
    recorder.log({"loss": 2.0, "acc": 3.0}, step=0)
    recorder.log({"acc": 4.0}, step=0)
    recorder.close()
    found = [row for _, _, _, row in rows_of(recorder.path)]
    assert [row["loss"] for row in found if "loss" in row] == [1.0, 2.0]
    assert [row["acc"] for row in found if "acc" in row] == [3.0, 4.0]


def test_a_row_that_arrives_late_does_not_turn_the_last_step_back(record):
    recorder = record()
    looked_at_ns = time.monotonic_ns()
    for step in range(88):
        recorder.log({"a": 0.0}, step=step)
    recorder._stream.put(Row(80, looked_at_ns, ("watch/grad_norm",), "d", (1.0,)))
    recorder.close()
    (summary,) = recorder.path.glob("summary/*.json")
    assert json.loads(summary.read_text())["last_step"] == 87
