"""Rows on their way to disk while the writer thread is busy, and what a journal costs while nobody fills it."""

import time
import warnings

import numpy as np
import pytest

from explorer.errors import RecorderWarning
from explorer.recording import stream as streams
from explorer.recording.stream import Row, Stream
from explorer.storage.disk import Disk
from explorer.storage.journal import Header


class BusyDisk(Disk):
    """While it writes a segment, the training goes on."""

    meanwhile = staticmethod(lambda: None)

    def write_file(self, path, data, *, sync):
        self.meanwhile()
        super().write_file(path, data, sync=sync)


@pytest.fixture
def make_stream(tmp_path):
    (tmp_path / "scalars").mkdir()

    def make(disk=None, *, small=False):
        return Stream(
            tmp_path, "scalars", Header(0, 1, 0, 1), mapped=False, disk=disk or Disk(), small=small
        )  # fmt: skip

    return make


def put(stream, step, names=("a", "b")):
    stream.put(Row(step, time.monotonic_ns(), names, "d" * len(names), tuple(float(step) for _ in names)))


def test_a_training_that_goes_on_while_journals_become_segments_gets_new_ones_in_between(
    make_stream, monkeypatch, rows_of, tmp_path
):
    for name in ("FIRST_JOURNAL_BYTES", "JOURNAL_BYTES", "BUSY_JOURNAL_BYTES"):
        monkeypatch.setattr(streams, name, 2**12)
    monkeypatch.setattr(streams, "MAX_OVERFLOW_CELLS", 0)  # a row without a place is lost at once
    disk, logged = BusyDisk(), []
    stream = make_stream(disk)
    stream.prepare()

    def log_some(count):
        for _ in range(count):
            put(stream, len(logged))
            logged.append(len(logged))

    for _ in range(4):
        log_some(100)
        stream.prepare()
    stream.collect()
    disk.meanwhile = lambda: log_some(100)  # more than one journal's rows
    for _ in range(5):
        stream.prepare()
        stream.collect()
        while stream.seal():
            stream.prepare()
    disk.meanwhile = lambda: None
    stream.finish()
    assert stream.dropped_rows == 0
    assert [step for *_, step, _ in rows_of(tmp_path)] == logged
    assert len(logged) > 1_000


def test_seal_makes_one_segment_a_call(make_stream, monkeypatch, tmp_path):
    for name in ("FIRST_JOURNAL_BYTES", "JOURNAL_BYTES", "BUSY_JOURNAL_BYTES"):
        monkeypatch.setattr(streams, name, 2**12)
    stream = make_stream()
    for step in range(500):
        put(stream, step)
        stream.prepare()
    stream.collect()
    found = [len(list((tmp_path / "scalars").glob("*.parquet"))) for _ in range(3) if stream.seal()]
    assert found == [1, 2, 3]
    stream.finish()


def test_a_thousand_metrics_in_a_plain_loop_are_on_disk_or_said_to_be_dropped(record, rows_of, summary_of):
    recorder = record()
    row = {f"m{index}": float(index) for index in range(1_000)}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in range(10_000):
            recorder.log(row, step=step)
        recorder.close()
    summary = summary_of(recorder)
    assert summary["rows"] + summary["dropped_rows"] == 10_000
    assert bool(summary["dropped_rows"]) == any("dropped" in str(each.message) for each in said)


def test_rows_that_memory_has_no_room_for_are_said_once_and_counted(record, summary_of, monkeypatch):
    recorder = record()
    monkeypatch.setattr(streams, "MAX_OVERFLOW_CELLS", 2)
    for step in range(3):
        recorder._stream._keep(Row(step, 0, ("a", "b", "c"), "ddd", (1.0, 2.0, 3.0)))
    with pytest.warns(RecorderWarning, match="rows come faster than this machine can write them") as said:
        recorder.close()
    assert len(said) == 1
    assert summary_of(recorder)["dropped_rows"] == 3
    assert "dropped_rows counts them" in summary_of(recorder)["warnings"][0]


def test_a_short_run_that_is_killed_leaves_less_than_four_mebibytes(record):
    recorder = record(system_every_s=0.05)
    for step in range(100):
        recorder.log({"a": 1.0}, step=step)
    until = time.monotonic() + 20
    while not recorder._stream._settled and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    files = [path for path in recorder.path.rglob("*.journal")]
    assert files
    assert sum(path.stat().st_blocks * 512 for path in files) < 4 * 2**20
    assert sum(path.stat().st_size for path in files) < 4 * 2**20


def test_a_slow_training_does_not_pay_memory_for_each_look(make_stream):
    stream = make_stream()
    for step in range(3_000):
        put(stream, step, ("loss",) if step % 2 else ("acc", "lr"))
        stream.collect()
        stream.take_fresh()
    (collected,) = stream._rows.values()
    assert len(collected._parts) < 2 * streams.MAX_LOOKS
    rows = collected.join()
    assert [found.shape.names for found in rows] == [("acc", "lr"), ("loss",)]
    assert np.array_equal(rows[0].steps, np.arange(0, 3_000, 2))
    assert np.array_equal(rows[1].column(0), np.arange(1.0, 3_000, 2))
    stream.finish()
