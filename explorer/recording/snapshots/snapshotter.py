"""What `Recorder.snapshot` does in the training's thread: look at the arguments, copy, hand over."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explorer.errors import UsageError
from explorer.recording.notices import Notices
from explorer.recording.overhead import Overhead
from explorer.recording.snapshots.host_buffers import plan, start_copies
from explorer.recording.snapshots.inventory import Inventory, name_of, take_inventory
from explorer.recording.snapshots.references import SUFFIX
from explorer.recording.snapshots.retention import Retention
from explorer.recording.snapshots.task import Entry, Job, SnapshotTask
from explorer.recording.values import clean_step

MAX_STEP = 10**12 - 1
MAX_COPY_BYTES = 4 * 2**30
OF_ANOTHER = (
    "there is one of another model at this step, and a step has one snapshot. Put the models into one "
    "torch.nn.ModuleDict and take snapshots of that"
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What goes into a snapshot; see `Recorder.snapshot`.

    Raises:
        UsageError: an option is of the wrong type.
    """

    optimizer: torch.optim.Optimizer | None = None
    shorten: bool = False
    reference: Path | None = None
    max_copy_bytes: int = MAX_COPY_BYTES

    @classmethod
    def check(cls, optimizer: object, dtype: object, reference: object, max_copy_bytes: object) -> Options:
        """The options as a user gave them."""
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(f"optimizer should be a torch.optim.Optimizer or None; found {_kind(optimizer)}")
        if not (dtype is None or dtype == "bfloat16" or dtype is torch.bfloat16):
            raise UsageError(f'dtype should be None, for the values as they are, or "bfloat16"; found {dtype!r}')
        if isinstance(max_copy_bytes, bool) or not isinstance(max_copy_bytes, int) or max_copy_bytes < 1:
            raise UsageError(f"max_copy_bytes should be a positive whole number; found {max_copy_bytes!r}")
        path = None
        if reference is not None:
            if not isinstance(reference, str | os.PathLike) or not str(reference).endswith(SUFFIX):
                raise UsageError(f"reference should be the path of a {SUFFIX} file; found {reference!r}")
            path = Path(reference).absolute()
        return cls(optimizer=optimizer, shorten=dtype is not None, reference=path, max_copy_bytes=max_copy_bytes)


def check_model(model: object) -> nn.Module:
    """The model, as a module. Raises UsageError."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"model should be a torch.nn.Module; found {_kind(model)}")
    return model


def check_step(step: object) -> int:
    """A step that can name a file. Raises UsageError."""
    number = clean_step(step)
    if not 0 <= number <= MAX_STEP:
        raise UsageError(f"the step of a snapshot should be from 0 to {MAX_STEP:,}; found {number:,}")
    return number


class Snapshotter:
    """Takes snapshots. Never raises for what a model, a device or the memory does: it is said, and counted."""

    def __init__(self, task: SnapshotTask, notices: Notices, overhead: Overhead) -> None:
        self._task, self._notices, self._overhead = task, notices, overhead
        self._pid = os.getpid()

    def take(self, model: nn.Module, step: int, options: Options, retention: Retention | None = None) -> bool:
        """Copy and hand over; whether that was done. Steps that were taken before in this attempt are not again."""
        if os.getpid() != self._pid:  # a forked worker: it records nothing
            return False
        began = time.thread_time()
        try:
            why = self._take(model, step, options, retention)
        except Exception as error:  # the device's own errors, no memory, and what modules do when they are looked at
            why = f"{type(error).__name__}: {error}"
        self._overhead.sampling_s += time.thread_time() - began
        if why:
            self.refuse(step, why)
        return not why

    def refuse(self, step: int, why: str) -> None:
        """Say and count that a snapshot was not taken."""
        self._task.num_skipped += 1
        about = f"snapshot {why[:20]}"
        self._notices.warn(about, f"the snapshot of step {step:,} was not taken: {why}. Said once for this reason")

    def was_taken(self, model: nn.Module, step: int) -> bool:
        """Whether this attempt has a snapshot of this step; if it is one of another model, that is said."""
        of = self._task.taken.get(step)
        if of is not None and of != _mark(model):
            self.refuse(step, OF_ANOTHER)
        return of is not None

    def follow(self, retention: Retention) -> None:
        """A policy begins: what it says is the best is deleted by no other one."""
        self._task.retentions.append(retention)

    def wait_until_written(self, timeout_s: float) -> None:
        """Until no snapshot is on its way, which makes room for one more; not in a training."""
        until = time.monotonic() + timeout_s
        while self._task.num_waiting and time.monotonic() < until:
            time.sleep(0.01)

    def _take(self, model: nn.Module, step: int, options: Options, retention: Retention | None) -> str:
        """Returns the reason why it was not taken, or an empty text."""
        mark, of = _mark(model), self._task.taken.get(step)
        if of is not None:
            if of != mark:
                return OF_ANOTHER
            self._task.wished.add(step)
            if step in self._task.gone:
                return "there was one of this step, which its policy has deleted"
            return "there is one of this step already, which is kept"
        if options.reference is not None:
            self._task.put(Job(step, mark, reference=options.reference, retention=retention))
            return ""
        inventory = take_inventory(model, options.optimizer)
        places = plan(inventory.found, options.shorten)
        tensors = [each.tensor for each in inventory.found]
        num_bytes = sum(place.num_bytes for place in places)
        if num_bytes > options.max_copy_bytes:
            return (
                f"a copy of the model has {num_bytes:,} bytes, more than max_copy_bytes={options.max_copy_bytes:,}. "
                f'Save it as a {SUFFIX} file of your own and pass reference="that file", or raise max_copy_bytes'
            )
        on_cuda = any(tensor.is_cuda for tensor in tensors)
        if on_cuda and torch.cuda.is_current_stream_capturing():
            return "a CUDA graph was being captured"
        buffers = self._task.pool.take(places, pinned=on_cuda)
        if buffers is None:
            return 'the disk has not taken the two before it yet. Take fewer, or save less with dtype="bfloat16"'
        try:
            copies = start_copies(tensors, buffers.views)
        except BaseException:
            self._task.pool.give_back(buffers)
            raise
        for index, reason in copies.failed.items():
            inventory.skipped.append((inventory.found[index].name, reason))
        self._say_skipped(inventory)
        aliases: dict[str, list[str]] = {}
        for name, first in inventory.ties.items():
            aliases.setdefault(first, []).append(name)
        entries = tuple(
            Entry(each.name, each.role, name_of(place.dtype), place.shape, tuple(aliases.get(each.name, ())), index)
            for index, (each, place) in enumerate(zip(inventory.found, places, strict=True))
            if index not in copies.failed
        )
        self._task.put(Job(step, mark, entries, buffers, copies, retention=retention))
        return ""

    def _say_skipped(self, inventory: Inventory) -> None:
        for name, reason in inventory.skipped:
            self._notices.warn(f"snapshot {name}", f"snapshots leave out {name[:80]!r}: it {reason}", of_many=True)


def _mark(model: nn.Module) -> int:
    """The same for a model and for what it is wrapped in."""
    return id(next(model.parameters(), model))


def _kind(value: Any) -> str:  # noqa: ANN401 - anything a user passes
    return type(value).__name__
