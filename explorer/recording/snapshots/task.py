"""Snapshots in the writer thread: wait for the copies, find out what changed, write, and delete by policy."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.errors import FileError
from explorer.recording.notices import Notices
from explorer.recording.snapshots.earlier import clean_up_earlier
from explorer.recording.snapshots.host_buffers import BufferPool, Copies, HostBuffers
from explorer.recording.snapshots.references import describe_reference
from explorer.recording.snapshots.retention import Retention
from explorer.recording.snapshots.unchanged import Fingerprint, StoredTensors, fingerprint, whole_crc32
from explorer.recording.transfer import DEVICE_TIMEOUT_S, LetOthersCapture
from explorer.storage import snapshots as files
from explorer.storage.disk import Disk
from explorer.storage.snapshots import SnapshotTensor

ATTEND_EVERY_S = 0.05
MIN_FREE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Entry:
    """One tensor of a job: what is written about it, and which of the buffers holds it."""

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    aliases: tuple[str, ...]
    index: int


@dataclass(frozen=True)
class Job:
    """One snapshot on its way: copied, or by reference to a file of the user's own (then without buffers)."""

    step: int
    model_mark: int
    entries: tuple[Entry, ...] = ()
    buffers: HostBuffers | None = None
    copies: Copies | None = None
    reference: Path | None = None
    retention: Retention | None = None


class SnapshotTask:
    """See the module. Threads of the training call `put` and take buffers from `pool`; the writer does the rest.

    Attributes:
        pool: host buffers.
        taken: steps that were put, written or not, and a mark of the model that each is of.
        wished: steps of snapshots that a policy took and the user asked for too: no policy deletes them.
        gone: steps whose snapshot a policy has deleted.
        retentions: of each policy; the training's threads add theirs.
        num_skipped: snapshots that were not taken, counted by the training's threads.
    """

    name = "snapshots"

    def __init__(
        self, run_dir: Path, attempt: int, rank: int, disk: Disk, notices: Notices, attend: Callable[[], None]
    ) -> None:
        self._run_dir, self._attempt, self._rank = run_dir, attempt, rank
        self._disk, self._notices, self._attend = disk, notices, attend
        self.pool = BufferPool()
        self.taken: dict[int, int] = {}
        self.wished: set[int] = set()
        self.gone: set[int] = set()
        self.retentions: list[Retention] = []
        self.num_skipped = 0
        self._queue: deque[Job] = deque()
        self._stored = StoredTensors()
        self._bytes: dict[int, int] = {}  # of each file of this attempt and rank, by step
        self._leftover: set[int] = set()  # steps of deleted ones whose file still holds bytes of others
        self._earlier_bytes: int | None = None
        self._num_written = self._num_lost = 0
        self._written_bytes = 0
        self._last_step: int | None = None
        self._grown = False  # since it was thinned
        self._closing = False
        self._attended = 0.0
        self._let_others_capture = LetOthersCapture()

    @property
    def num_waiting(self) -> int:
        """Snapshots that are not written yet."""
        return len(self._queue)

    def put(self, job: Job) -> None:
        """Have a snapshot written."""
        self.taken[job.step] = job.model_mark
        self._queue.append(job)

    def tick(self) -> None:
        """Write what has arrived, and delete what the policies do not keep. Raises OSError."""
        self._work(wait=False)

    def finish(self) -> None:
        """Write everything and give the memory back. Raises OSError."""
        self._closing = True
        self._work(wait=True)
        self.pool.release()

    def describe(self) -> dict[str, Any]:
        """Counts of snapshots for the summary.

        Returns:
            ``written``, ``skipped`` (not taken: memory still in use, model too large, and so on), ``lost`` (taken but
            not written), ``waiting`` (neither yet), ``dropped`` (deleted by policy), ``bytes`` written in all, and
            ``last_step`` written or None.
        """
        waiting = len(self._queue)
        return {
            "written": self._num_written,
            "skipped": self.num_skipped,
            "lost": self._num_lost + (waiting if self._closing else 0),
            "waiting": 0 if self._closing else waiting,
            "dropped": sum(retention.num_dropped for retention in self.retentions),
            "bytes": self._written_bytes,
            "last_step": self._last_step,
        }

    def _work(self, *, wait: bool) -> None:
        self._thin()  # what an earlier call could not delete
        if self._queue and self._earlier_bytes is None:
            self._look_at_earlier_attempts()
        while self._queue:
            job = self._queue[0]
            try:
                if not self._has_arrived(job, wait=wait):
                    return
                self._write(job)
            except OSError:
                raise  # tried again, with this snapshot
            except Exception as error:  # the device's own errors
                self._num_lost += 1
                what = f"the snapshot of step {job.step:,} is lost ({type(error).__name__}: {error})"
                self._notices.warn(f"snapshot lost {type(error).__name__}", what)
            self._queue.popleft()
            if job.buffers is not None:
                self.pool.give_back(job.buffers)
            self._thin()

    def _thin(self) -> None:
        """Delete what the policies do not keep, and what earlier deletions had to leave. Raises OSError."""
        if not self._grown:
            return
        staying = self.wished.copy()
        for retention in self.retentions:
            staying |= retention.staying(self._bytes.keys() - self._leftover)
        for retention in self.retentions:
            retention.thin(self._drop, self._total_bytes, staying)
        for step in [step for step in self._leftover if not self._stored.needed(step)]:
            self._delete(step, set())
            self._leftover.discard(step)
        self._grown = False

    def _has_arrived(self, job: Job, *, wait: bool) -> bool:
        if job.copies is None:
            return True
        until = time.monotonic() + DEVICE_TIMEOUT_S
        for event in job.copies.events:
            self._let_others_capture()
            while not event.query():
                if not wait:
                    return False
                if time.monotonic() > until:
                    raise RuntimeError(f"the device did not finish its work in {DEVICE_TIMEOUT_S:.0f} s")
                time.sleep(0.001)
        while job.copies.staged:
            view, copy = job.copies.staged[-1]
            view.copy_(copy)
            job.copies.staged.pop()
        return True

    def _write(self, job: Job) -> None:
        path = self._path(job.step)
        reference = None
        if job.reference is not None:
            try:
                reference = describe_reference(job.reference)
            except (OSError, ValueError) as error:
                self._num_lost += 1
                what = f"the snapshot of step {job.step:,} is not recorded: its reference cannot be used ({error})"
                self._notices.warn(f"snapshot reference {job.reference}", what, of_many=True)
                return
        needed = sum(place.num_bytes for place in job.buffers.places) if job.buffers is not None else 0
        if shutil.disk_usage(self._run_dir).free < needed + MIN_FREE_BYTES:  # the training needs the disk more
            raise OSError(errno.ENOSPC, f"a snapshot needs {needed:,} bytes and leaves less than it should")
        fresh: list[tuple[str, Fingerprint]] = []
        sources: dict[str, int] = {}
        files.write_snapshot(
            path, job.step, self._tensors(job, fresh, sources),
            attempt=self._attempt, rank=self._rank, reference=reference, disk=self._disk,
        )  # fmt: skip
        self._stored.add(job.step, fresh, sources)
        num_bytes = os.stat(path).st_size
        self._bytes[job.step] = num_bytes
        self._written_bytes += num_bytes
        self._num_written += 1
        self._last_step = job.step
        self._grown = True
        if job.retention is not None:
            job.retention.add(job.step, num_bytes)

    def _tensors(
        self, job: Job, fresh: list[tuple[str, Fingerprint]], sources: dict[str, int]
    ) -> Iterator[SnapshotTensor]:
        """What is written, tensor by tensor; notes what `StoredTensors.add` wants to know."""
        there: dict[int, bool] = {}
        memory = job.buffers.memory if job.buffers is not None else []
        for entry in job.entries:
            self._attend_now_and_then()
            data = memory[entry.index]
            mark = fingerprint(entry.dtype, entry.shape, data, entry.aliases)
            step = self._stored.find(entry.name, mark, len(data))
            if step is not None and step not in there:  # somebody may have deleted it
                there[step] = self._path(step).exists()
            if step is not None and not there[step]:
                step = None
            if step is None:
                fresh.append((entry.name, mark))
            else:
                sources[entry.name] = step
            yield SnapshotTensor(
                entry.name, entry.role, entry.dtype, entry.shape, data if step is None else None, step,
                whole_crc32(mark, len(data)), entry.aliases, mark.crc32s,
            )  # fmt: skip

    def _attend_now_and_then(self) -> None:
        if time.monotonic() - self._attended > ATTEND_EVERY_S:
            self._attend()
            self._attended = time.monotonic()

    def _drop(self, step: int) -> None:
        """Delete a snapshot but for the bytes that others refer to. Raises OSError."""
        self.gone.add(step)
        self._delete(step, self._stored.drop(step))
        if step in self._bytes:
            self._leftover.add(step)

    def _delete(self, step: int, needed: set[str]) -> None:
        try:
            files.drop_snapshot(self._run_dir, step, self._attempt, self._rank, disk=self._disk, needed=needed)
        except FileError as error:  # what cannot be read is not touched
            self._notices.warn(f"snapshot drop {step}", f"a snapshot is not deleted: {error}", of_many=True)
        path = self._path(step)
        self._bytes[step] = path.stat().st_size if path.exists() else 0
        if not self._bytes[step]:
            del self._bytes[step]

    def _path(self, step: int) -> Path:
        return files.snapshot_path(self._run_dir, step, self._attempt, self._rank)

    def _total_bytes(self) -> int:
        return (self._earlier_bytes or 0) + sum(self._bytes.values())

    def _look_at_earlier_attempts(self) -> None:
        """Count their bytes, and remove what a kill has left half written."""
        self._earlier_bytes = clean_up_earlier(self._run_dir / "params", self._attempt, self._rank, self._disk)
