"""Any thread may log at any moment; none loses a row to another."""

import sys
import threading
import time

import pytest


@pytest.fixture
def hasty_interpreter():
    """Threads take turns every microsecond instead of every five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("buffered", [False, True])
def test_four_threads_lose_no_row(record, rows_of, monkeypatch, hasty_interpreter, buffered):
    if buffered:
        monkeypatch.setattr("explorer.recording.recorder.can_map", lambda folder: False)
    for name in ("FIRST_JOURNAL_BYTES", "JOURNAL_BYTES"):
        monkeypatch.setattr(f"explorer.recording.stream.{name}", 2**16)  # many changes of the journal
    recorder, count = record(), 5_000

    def work(thread):
        names = (f"a{thread % 2}", f"b{thread}")
        for number in range(count):
            step = thread * count + number
            recorder.log({names[0]: float(step), names[1]: -float(step)}, step=step)
            if number % 1_000 == 0:
                recorder.log({f"rare{thread}": float(step)}, step=step)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    recorder.close()
    found = {}
    for _, _, step, row in rows_of(recorder.path):
        for name, value in row.items():
            assert (step, name) not in found
            found[step, name] = value
    expected = {}
    for thread in range(4):
        for number in range(count):
            step = thread * count + number
            expected |= {(step, f"a{thread % 2}"): float(step), (step, f"b{thread}"): -float(step)}
            if number % 1_000 == 0:
                expected[step, f"rare{thread}"] = float(step)
    assert found == expected


def test_close_while_other_threads_log_hangs_nowhere(record, hasty_interpreter, rows_of):

    recorder, stop = record(), threading.Event()

    def work(thread):
        step = 0
        while not stop.is_set():
            recorder.log({f"a{thread}": float(step)}, step=step)
            step += 1

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
    [thread.start() for thread in threads]
    threading.Event().wait(0.2)
    closer = threading.Thread(target=recorder.close)
    closer.start()
    closer.join(10)
    stop.set()
    [thread.join() for thread in threads]
    assert not closer.is_alive()
    assert recorder._stream.dropped_rows == 0
    rows = rows_of(recorder.path)
    for thread in range(3):
        steps = sorted(step for _, _, step, row in rows if f"a{thread}" in row)
        assert steps == list(range(len(steps)))


def test_a_thread_that_waits_for_its_turn_within_a_row_does_not_lose_it(record, rows_of):
    """Between taking a place and writing there, a thread may be stopped while others write thousands of rows."""
    recorder = record()
    recorder.log({"a": 0.0}, step=0)
    stream = recorder._stream
    journal = stream.current
    shape = journal.define(("a",), "d")
    place = journal.next
    journal.next += shape.row_bytes  # the thread is stopped here
    for step in range(2, 1_000):
        recorder.log({"a": float(step)}, step=step)
    time.sleep(1.2)  # the writer looks through the journal meanwhile
    shape.pack_into(journal.view, place, shape.head, 1, time.monotonic_ns(), 1.0, shape.whole)
    recorder.close()
    assert [(step, row) for *_, step, row in rows_of(recorder.path)] == [(n, {"a": float(n)}) for n in range(1_000)]


def test_a_place_that_is_never_filled_costs_no_other_row(record, rows_of, monkeypatch):
    monkeypatch.setattr("explorer.recording.journal_file.IN_FLIGHT_S", 0.2)
    monkeypatch.setattr("explorer.recording.stream.IN_FLIGHT_S", 0.2)
    monkeypatch.setattr("explorer.recording.writer.COLLECT_MAPPED_S", 0.05)
    recorder = record()
    recorder.log({"a": 0.0}, step=0)
    journal = recorder._stream.current
    journal.next += journal.define(("a",), "d").row_bytes
    for step in range(1, 1_000):
        recorder.log({"a": float(step)}, step=step)
    time.sleep(0.6)
    assert recorder._writer._totals.rows == 1_000
    recorder.close()
    assert [step for *_, step, _ in rows_of(recorder.path)] == list(range(1_000))
