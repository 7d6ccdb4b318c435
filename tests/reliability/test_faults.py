"""Fail the k-th operation on the disk, for k = 1, 2, ... until none is hit: the training never notices.

Kinds: once; sticky (all that follow fail too); torn (half of a write arrives, then the machine is gone).
"""

import errno
import os
import shutil
import threading
import time

import pytest

from explorer import Recorder
from explorer.recording import writer
from explorer.storage import layout, records
from explorer.storage.disk import Disk
from explorer.storage.verify import verify_run

OPERATIONS = ("make_dir", "write_bytes", "replace", "sync_dir", "open_new", "append", "sync", "remove")


class FaultyDisk(Disk):
    """Counts the writer's operations and fails from the k-th on as told."""

    def __init__(self, fail_at, kind, code=errno.EIO):
        self.fail_at, self.kind, self.code = fail_at, kind, code
        self.count, self.hits, self.armed = 0, 0, False

    def _tick(self, path=None, data=None):
        if not self.armed or threading.current_thread() is threading.main_thread():
            return
        self.count += 1
        if self.count == self.fail_at or (self.count > self.fail_at and self.kind != "once"):
            self.hits += 1
            if data is not None and self.kind == "torn":
                path.write_bytes(bytes(data[: len(data) // 2]))
            raise OSError(self.code, os.strerror(self.code))

    def write_bytes(self, path, data, *, sync):
        self._tick(path, data)
        super().write_bytes(path, data, sync=sync)


def _counted(name):
    def operation(self, *args, **kwargs):
        self._tick()
        return getattr(Disk, name)(self, *args, **kwargs)

    return operation


for name in OPERATIONS:
    if name != "write_bytes":
        setattr(FaultyDisk, name, _counted(name))


@pytest.fixture
def hurry(monkeypatch):
    """All the writer's periods shortened, so that one short run goes through all of its operations."""
    for name in ("TICK_S", "COLLECT_MAPPED_S", "COLLECT_BUFFERED_S", "SUMMARY_S", "SYNC_S", "MAX_BACKOFF_S"):
        monkeypatch.setattr(writer, name, 0.002)
    monkeypatch.setattr("explorer.recording.stream.FIRST_JOURNAL_BYTES", 2**13)
    monkeypatch.setattr("explorer.recording.stream.JOURNAL_BYTES", 2**13)
    monkeypatch.setattr("explorer.recording.stream.BUSY_JOURNAL_BYTES", 2**13)
    monkeypatch.setattr("explorer.recording.environment.describe_environment", dict)
    monkeypatch.setattr("explorer.recording.git_state.describe_git", lambda: (None, ""))


def train(tmp_path, disk, name, rows=400):
    """A training of 400 rows that must not notice anything. The recorder, and how long its slowest log() took."""
    recorder = Recorder("faults", root=tmp_path, run_id=name, system_every_s=None, quiet=True, disk=disk)
    disk.armed = True
    worst_s = 0.0
    for step in range(rows):
        began = time.perf_counter()
        recorder.log({"loss": float(step), "acc": -0.5 * step}, step=step)
        worst_s = max(worst_s, time.perf_counter() - began)
        if step % 100 == 99:
            time.sleep(0.004)
    recorder.close()
    return recorder, worst_s


def check(recorder, rows_of, rows=400):
    """Every row is on disk with its own values or counted as dropped; nothing torn, nothing made up."""
    found = rows_of(recorder.path)
    dropped = recorder_dropped(recorder)
    steps = [step for *_, step, _ in found]
    assert len(steps) == len(set(steps))
    assert all(row == {"loss": float(step), "acc": -0.5 * step} for *_, step, row in found)
    assert len(steps) + dropped >= rows
    damaged = [finding for finding in verify_run(recorder.path) if "missing" not in finding.reason]
    assert damaged == []


def recorder_dropped(recorder):
    return recorder._stream.dropped_rows


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
@pytest.mark.parametrize("kind", ["once", "sticky", "torn"])
@pytest.mark.parametrize("mapped", [True, False])
def test_no_failing_operation_reaches_the_training_or_costs_a_row_silently(
    tmp_path, hurry, rows_of, monkeypatch, kind, mapped
):
    if not mapped:
        monkeypatch.setattr("explorer.recording.recorder.can_map", lambda folder: False)
    for fail_at in range(1, 500):
        disk = FaultyDisk(fail_at, kind)
        recorder, _ = train(tmp_path, disk, f"run-{fail_at}")
        if not disk.hits:
            break
        if mapped:
            check(recorder, rows_of)
        else:
            found = [step for *_, step, _ in rows_of(recorder.path)]
            assert kind != "once" or len(found) + recorder_dropped(recorder) >= 400
    assert fail_at > 10
    print(kind, "mapped" if mapped else "buffered", fail_at - 1, "fault points")


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE])
def test_a_disk_that_fails_for_ever_is_said_and_costs_no_row_of_the_journal(tmp_path, hurry, rows_of, code):
    disk = FaultyDisk(1, "sticky", code)
    recorder, _ = train(tmp_path, disk, "run")
    assert any(os.strerror(code) in message for message in recorder._notices.messages)
    found = len(rows_of(recorder.path))
    assert found + recorder_dropped(recorder) + len(recorder._stream._overflow) >= 400


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path, hurry, rows_of):
    disk = FaultyDisk(1, "sticky", errno.ENOSPC)
    recorder = Recorder("full", root=tmp_path, system_every_s=None, quiet=True, disk=disk)
    disk.armed = True
    for step in range(1_000):
        recorder.log({"loss": float(step)}, step=step)
    time.sleep(0.05)
    disk.armed = False  # somebody made room
    for step in range(1_000, 2_000):
        recorder.log({"loss": float(step)}, step=step)
    recorder.close()
    assert sorted(step for *_, step, _ in rows_of(recorder.path)) == list(range(2_000))
    assert records.read_record(recorder.path / "summary" / "0001-00000.json")["state"] == "finished"


class SlowDisk(Disk):
    """A network disk that does not answer."""

    def __init__(self):
        self.hanging = threading.Event()

    def write_bytes(self, path, data, *, sync):
        if self.hanging.is_set() and threading.current_thread() is not threading.main_thread():
            time.sleep(2.0)
        super().write_bytes(path, data, sync=sync)


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
def test_a_disk_that_hangs_makes_neither_log_nor_close_wait(tmp_path, monkeypatch, rows_of):
    monkeypatch.setattr("explorer.recording.recorder.CLOSE_TIMEOUT_S", 0.5)
    disk = SlowDisk()
    recorder = Recorder("slow", root=tmp_path, system_every_s=None, quiet=True, disk=disk)
    disk.hanging.set()
    times = []
    for step in range(20_000):
        began = time.perf_counter()
        recorder.log({"loss": float(step)}, step=step)
        times.append(time.perf_counter() - began)
    times.sort()
    assert times[len(times) // 2] < 50e-6
    assert times[int(len(times) * 0.99)] < 1e-3
    assert times[-1] < 0.5
    began = time.monotonic()
    recorder.close()
    assert time.monotonic() - began < 1.5
    assert len(rows_of(recorder.path)) == 20_000  # the journal has them
    disk.hanging.clear()
    recorder_thread = next((t for t in threading.enumerate() if t.name == "explorer-writer"), None)
    if recorder_thread:
        recorder_thread.join(20)


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
def test_a_run_folder_that_is_deleted_is_made_anew_and_recording_goes_on(tmp_path, hurry, rows_of):

    recorder = Recorder("deleted", root=tmp_path, system_every_s=None, quiet=True)
    for step in range(100):
        recorder.log({"loss": float(step)}, step=step)
    time.sleep(0.05)
    shutil.rmtree(recorder.path)
    time.sleep(0.1)
    for step in range(100, 200):
        recorder.log({"loss": float(step)}, step=step)
    recorder.close()
    assert layout.is_run_dir(recorder.path)
    steps = [step for *_, step, _ in rows_of(recorder.path)]
    assert set(range(100, 200)) <= set(steps)
    assert any("was gone: it was made anew" in message for message in recorder._notices.messages)
    assert records.read_record(recorder.path / "summary" / "0001-00000.json")["state"] == "finished"
