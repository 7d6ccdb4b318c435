"""Any thread may log at any moment; none loses a row to another."""

import sys
import threading

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
