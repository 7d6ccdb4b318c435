"""Memory of the host that snapshots are copied into, used again and again.

Copying 124 million parameters into memory that the process has touched before takes 28 ms; into fresh memory, up to
200 ms, spent in page faults. For tensors on CUDA the memory is pinned, so that the copy is enqueued and not waited for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from explorer.recording.snapshots.inventory import Found

_ALIGNMENT = 64
_BLOCK_BYTES = 64 * 2**20
_SHORTENED = (torch.float32, torch.float64)
DIRECT = ("cpu", "cuda")  # devices whose copies into host memory do not wait
MAX_SETS = 2
MAX_SMALL_SETS = 32
SMALL_SETS_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Place:
    """What one tensor needs: its shape and the type it is kept in."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


def plan(found: Sequence[Found], shorten: bool) -> list[Place]:
    """A place for each tensor. With `shorten`, float32 and float64 become bfloat16, single numbers excepted."""
    return [
        Place(
            tuple(each.tensor.shape),
            torch.bfloat16
            if shorten and each.tensor.dtype in _SHORTENED and each.tensor.numel() != 1
            else each.tensor.dtype,
        )
        for each in found
    ]


class HostBuffers:
    """Memory for one snapshot; makes all of its pages present at once.

    Attributes:
        places: what it has room for.
        pinned: whether a device can copy into it by itself.
        views: one tensor for each place.
        memory: the bytes of each, C order.
    """

    def __init__(self, places: list[Place], *, pinned: bool) -> None:
        self.places, self.pinned = places, pinned
        self.views: list[torch.Tensor] = []
        self.memory: list[memoryview] = []
        # On the CPU, whatever torch.set_default_device says.
        # Pinned memory comes in powers of two: small tensors share blocks of such a size.
        block, used = torch.empty(0, dtype=torch.uint8, device="cpu"), 0
        rest = sum(_aligned(place.num_bytes) for place in places)
        for place in places:
            size = _aligned(place.num_bytes)
            if used + size > len(block):
                most = min(rest, _BLOCK_BYTES) if pinned else rest
                block = torch.empty(max(size, most), dtype=torch.uint8, device="cpu", pin_memory=pinned)
                used = 0
                block.zero_()
            part = block[used : used + place.num_bytes]
            self.views.append(part.view(place.dtype).view(place.shape))
            self.memory.append(memoryview(part.numpy()))
            used += size
            rest -= size

    def fits(self, places: list[Place], *, pinned: bool) -> bool:
        """Whether these are the places it was made for, in memory of the kind wanted."""
        return self.places == places and self.pinned == pinned


class BufferPool:
    """At most two sets of host buffers, so that a slow disk costs snapshots and never the memory of the training.

    Of a small model there are more, up to 64 MiB in all: the steps of a small model are quicker than a disk.
    Threads of the training take sets, the writer thread gives them back; each is one operation of a deque.
    """

    def __init__(self) -> None:
        self._slots: deque[HostBuffers | None] = deque([None] * MAX_SMALL_SETS)

    def take(self, places: list[Place], *, pinned: bool) -> HostBuffers | None:
        """A set for these places, or None when all are in use. Raises what torch raises when there is no memory."""
        num_bytes = sum(_aligned(place.num_bytes) for place in places)
        allowed = max(MAX_SETS, min(MAX_SMALL_SETS, SMALL_SETS_BYTES // max(num_bytes, 1)))
        if MAX_SMALL_SETS - len(self._slots) >= allowed:
            return None
        try:
            found = self._slots.pop()
        except IndexError:
            return None
        if found is not None and found.fits(places, pinned=pinned):
            return found
        found = None  # freed before the next one is made
        try:
            return HostBuffers(places, pinned=pinned)
        except BaseException:
            self._slots.appendleft(None)
            raise

    def give_back(self, buffers: HostBuffers) -> None:
        """Let the next snapshot have them; the set used last is taken first, so another is made only in need."""
        self._slots.append(buffers)

    def release(self) -> None:
        """Free the memory of those that are not in use; nothing can be taken any more."""
        self._slots.clear()


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True)
class Copies:
    """Copies that are on their way into host buffers.

    Attributes:
        failed: index of a tensor to the reason why it could not be copied.
        events: CUDA events that have passed when the copies have arrived.
        staged: (view, copy on a device) of those that the writer thread still has to bring over.
    """

    failed: dict[int, str]
    events: list[Any]
    staged: list[tuple[torch.Tensor, torch.Tensor]]


@torch.no_grad()
def start_copies(tensors: Sequence[torch.Tensor], views: Sequence[torch.Tensor]) -> Copies:
    """Copy tensors into the views of host buffers.

    Those on the CPU have arrived when this returns. Those on CUDA follow what is enqueued on the current stream; other
    accelerators copy on the device, and the values are brought over by whoever takes `staged`. No device is waited for.
    """
    direct = [index for index, tensor in enumerate(tensors) if tensor.device.type in DIRECT]
    staged = [
        (views[index], tensor.clone()) for index, tensor in enumerate(tensors) if tensor.device.type not in DIRECT
    ]
    failed: dict[int, str] = {}
    if direct:
        try:
            torch._foreach_copy_([views[i] for i in direct], [tensors[i] for i in direct], non_blocking=True)
        except Exception:  # a type that torch cannot copy: find out which
            failed = _copy_one_by_one(tensors, views, direct)
    events = []
    for device in {tensors[index].device for index in direct if tensors[index].is_cuda}:
        with torch.cuda.device(device):
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        events.append(event)
    return Copies(failed, events, staged)


def _copy_one_by_one(
    tensors: Sequence[torch.Tensor], views: Sequence[torch.Tensor], indices: Sequence[int]
) -> dict[int, str]:
    failed = {}
    for index in indices:
        try:
            views[index].copy_(tensors[index], non_blocking=True)
        except Exception as error:
            failed[index] = f"cannot be copied ({type(error).__name__}: {str(error)[:80]})"
    return failed
