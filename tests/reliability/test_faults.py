"""Fail the k-th operation on the disk, for k = 1, 2, ... until none is hit: the training never notices.

Kinds: once; sticky (all that follow fail too); torn (half of a write arrives, then the machine is gone).
"""

import errno
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

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
    for name in ("TICK_S", "COLLECT_MAPPED_S", "COLLECT_BUFFERED_S", "CLOSE_RETRY_S", "MAX_BACKOFF_S"):
        monkeypatch.setattr(writer, name, 0.001)
    for name in ("SUMMARY_S", "SYNC_S"):
        monkeypatch.setattr(writer, name, 0.01)
    for name in ("FIRST_JOURNAL_BYTES", "JOURNAL_BYTES", "BUSY_JOURNAL_BYTES"):
        monkeypatch.setattr(f"explorer.recording.stream.{name}", 2**12)
    monkeypatch.setattr("explorer.recording.environment.describe_environment", dict)
    monkeypatch.setattr("explorer.recording.git_state.describe_git", lambda: (None, ""))


def train(tmp_path, disk, name, rows=200):
    """A training of 200 rows that must not notice anything."""
    recorder = Recorder("faults", root=tmp_path, run_id=name, system_every_s=None, quiet=True, disk=disk)
    disk.armed = True
    for step in range(rows):
        recorder.log({"loss": float(step), "acc": -0.5 * step}, step=step)
        if step % 50 == 49:
            time.sleep(0.004)
    recorder.close()
    return recorder


def check(recorder, rows_of, rows=200):
    """Every row is on disk with its own values or counted as dropped; nothing torn, nothing made up."""
    found = rows_of(recorder.path)
    steps = [step for *_, step, _ in found]
    assert len(steps) == len(set(steps))
    assert all(row == {"loss": float(step), "acc": -0.5 * step} for *_, step, row in found)
    assert len(steps) + recorder._stream.dropped_rows == rows
    assert [finding for finding in verify_run(recorder.path) if "missing" not in finding.reason] == []


@pytest.fixture
def quick_folder(tmp_path):
    """In memory, where there is such a disk: there syncing a file costs nothing."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
@pytest.mark.parametrize("kind", ["once", "sticky", "torn"])
@pytest.mark.parametrize("mapped", [True, False])
def test_no_failing_operation_reaches_the_training_or_costs_a_row_silently(
    quick_folder, hurry, rows_of, monkeypatch, kind, mapped
):
    if not mapped:
        monkeypatch.setattr("explorer.recording.recorder.can_map", lambda folder: False)
    for fail_at in range(1, 500):
        disk = FaultyDisk(fail_at, kind)
        recorder = train(quick_folder, disk, f"run-{fail_at}")
        check(recorder, rows_of)
        if not disk.hits:
            assert recorder._stream.dropped_rows == 0
            break
        if kind == "once":
            assert recorder._stream.dropped_rows == 0
    assert fail_at > 20
    print(kind, "mapped" if mapped else "buffered", fail_at - 1, "fault points")


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE])
def test_a_disk_that_fails_for_ever_is_said_and_costs_no_row_of_the_journal(tmp_path, hurry, rows_of, code):
    disk = FaultyDisk(1, "sticky", code)
    recorder = train(tmp_path, disk, "run")
    assert any(os.strerror(code) in message for message in recorder._notices.messages)
    check(recorder, rows_of)


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
    shutil.move(recorder.path, tmp_path / "elsewhere")
    time.sleep(0.1)
    for step in range(100, 200):
        recorder.log({"loss": float(step)}, step=step)
    recorder.close()
    assert layout.is_run_dir(recorder.path)
    steps = [step for *_, step, _ in rows_of(recorder.path)]
    assert set(range(100, 200)) <= set(steps)
    assert any("was gone: it was made anew" in message for message in recorder._notices.messages)
    assert records.read_record(recorder.path / "summary" / "0001-00000.json")["state"] == "finished"
