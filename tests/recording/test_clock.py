"""Wall times when the machine is suspended, which the monotonic clock does not count."""

import time

import numpy as np
import pytest

from explorer.recording import clock
from explorer.recording.clock import WallClock
from explorer.storage import columns, layout, segments
from explorer.storage.tensors import open_tensor_segment

HOUR_NS = 3_600 * 10**9


@pytest.fixture
def asleep(monkeypatch):
    """`asleep(ns)`: the machine has slept for so long in all; None: nobody can tell just now."""
    found = [5 * HOUR_NS]
    monkeypatch.setattr(clock, "slept_ns", lambda: found[0])
    return lambda ns: found.__setitem__(0, None if ns is None else 5 * HOUR_NS + ns)


def test_a_machine_that_was_never_suspended_has_slept_for_no_time():
    found = clock.slept_ns()
    assert found is not None
    assert found >= 0


def test_the_offset_grows_by_the_length_of_a_sleep_and_by_nothing_else(asleep):
    wall = WallClock()
    began, before = wall.offset_ns, time.monotonic_ns()
    asleep(10**8)  # the noise of two clocks
    wall.look()
    asleep(None)
    wall.look()
    assert wall.offset_ns == began
    asleep(HOUR_NS)
    wall.look()
    wall.look()
    assert wall.offset_ns == began + HOUR_NS
    asleep(0)
    wall.look()
    assert wall.offset_ns == began + HOUR_NS
    asleep(3 * HOUR_NS)
    wall.look()
    assert wall.offset_ns == began + 3 * HOUR_NS
    assert wall.offset_at(before) == began
    assert wall.offset_at(time.monotonic_ns()) == began + 3 * HOUR_NS


def wall_times(recorder, table="scalars"):
    """{step: microseconds since 1970} of everything in segments."""
    found = {}
    for file in layout.list_segments(recorder.path, table):
        if file.name.kind == "segment":
            rows = segments.read_columns(file.path)
            found |= dict(zip(columns.numbers(rows["step"]).tolist(), columns.numbers(rows["wall_time"]), strict=True))
    return found


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "buffered"])
@pytest.mark.parametrize("rows_before", [3, 0], ids=["rows before", "no row yet"])
def test_rows_after_a_sleep_have_the_time_after_it(record, asleep, monkeypatch, mapped, rows_before):
    monkeypatch.setattr("explorer.recording.recorder.can_map", lambda _: mapped)
    recorder = record()
    began_us = time.time_ns() // 1_000
    for step in range(rows_before):
        recorder.log({"loss": 1.0}, step=step)
    asleep(HOUR_NS)
    until = time.monotonic() + 20
    while recorder._stream.current.header.wall_minus_monotonic_ns != recorder._writer._clock.offset_ns or not len(
        recorder._writer._clock._begins
    ):
        assert time.monotonic() < until
        time.sleep(0.01)
    recorder.log_labels([1, 2], step=10)
    for step in range(10, 13):
        recorder.log({"loss": 1.0}, step=step)
    recorder.close()
    found = wall_times(recorder)
    assert list(found) == [*range(rows_before), 10, 11, 12]
    hours = np.array([(us - began_us) / 3.6e9 for us in found.values()])
    assert hours == pytest.approx([0.0] * rows_before + [1.0] * 3, abs=0.01)
    assert layout.list_gaps(layout.list_segments(recorder.path)) == []
    (file,) = layout.list_segments(recorder.path, "tensors")
    with open_tensor_segment(file.path) as segment:
        (labelled_us,) = columns.numbers(segment.read(["wall_time"])["wall_time"])
    assert (labelled_us - began_us) / 3.6e9 == pytest.approx(1.0, abs=0.01)


def test_a_training_that_logs_on_all_the_time_loses_no_row_at_a_sleep(record, asleep, rows_of):
    recorder = record()
    for step in range(40_000):
        if step in (10_000, 25_000):
            asleep(step * HOUR_NS)
        recorder.log({"a": 1.0, "b": 2.0}, step=step)
        if step % 1_000 == 0:
            time.sleep(0.01)
    recorder.close()
    assert [step for _, _, step, _ in rows_of(recorder.path)] == list(range(40_000))
    times = np.array(list(wall_times(recorder).values()))
    assert (np.diff(times) >= 0).all()
    assert (times[-1] - times[0]) / 3.6e9 == pytest.approx(25_000, abs=0.1)
