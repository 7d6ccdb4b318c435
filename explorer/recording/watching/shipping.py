"""Packed results of an accelerator on their way to main memory, without the training waiting for them.

The caller enqueues one copy of each kind into pinned memory and an event behind them; the writer thread asks the event
until it has passed. The order of the stream makes the values those of the moment of the call.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DEVICE_TIMEOUT_S = 10.0
_THREAD_LOCAL_CAPTURE = 1


class Shipment:
    """Packed results of one device on their way, and the arrays once they are here.

    Attributes:
        floats, ints, tables: what arrived; read them only after `arrive`.
    """

    def __init__(self, device: torch.device, pool: PinnedPool) -> None:
        self.floats: npt.NDArray[Any] = np.empty(0)
        self.ints: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.tables: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._device, self._pool = device, pool
        self._parts: dict[str, list[Tensor]] = {"floats": [], "ints": [], "tables": []}
        self._lengths = dict.fromkeys(self._parts, 0)
        self._sent: dict[str, Tensor] = {}
        self._slots: list[Tensor] = []
        self._event: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not any(self._lengths.values())

    def put(self, kind: str, values: Tensor) -> slice:
        """Add a flat tensor; where it will be found."""
        start = self._lengths[kind]
        self._lengths[kind] = start + values.numel()
        self._parts[kind].append(values)
        return slice(start, start + values.numel())

    def send(self) -> None:
        """Enqueue the copies. Called once, by the training's thread."""
        packed = {kind: torch.cat(parts) for kind, parts in self._parts.items() if parts}
        self._parts = {}
        if self._device.type != "cuda":  # read by the writer thread, which may wait
            self._sent = packed
            return
        with torch.cuda.device(self._device):
            for kind, values in packed.items():
                slot = self._pool.take(values)
                self._slots.append(slot)
                self._sent[kind] = slot[: values.numel()]
                self._sent[kind].copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def ready(self) -> bool:
        """Whether `arrive` would not wait."""
        if self._event is None:
            return True
        self._pool.let_others_capture()
        return bool(self._event.query())

    def arrive(self) -> None:
        """Have the arrays here. Raises TimeoutError for a device that hangs, and what the device raises."""
        until = time.monotonic() + DEVICE_TIMEOUT_S
        while not self.ready():
            if time.monotonic() > until:
                raise TimeoutError(f"the device did not finish its work in {DEVICE_TIMEOUT_S:.0f} s")
            time.sleep(0.001)
        for kind, values in self._sent.items():
            setattr(self, kind, values.cpu().numpy().copy())
        self._sent = {}
        while self._slots:
            self._pool.give_back(self._slots.pop())


class PinnedPool:
    """Pinned memory that is used again: taking new pinned memory can make the device wait.

    The training's threads take, the writer thread gives back. Each is one operation of a deque at a time, so that no
    piece is ever given to two: the second would be copied over the first before it is read.
    """

    def __init__(self) -> None:
        self._free: deque[Tensor] = deque()
        self._lets_capture = False

    def take(self, values: Tensor) -> Tensor:
        """Memory for these values at least."""
        mine: list[Tensor] = []
        others: list[Tensor] = []
        while self._free:
            try:
                slot = self._free.popleft()
            except IndexError:  # another thread has taken the last one
                break
            (mine if slot.dtype == values.dtype else others).append(slot)
        mine.sort(key=Tensor.numel)
        found = next((slot for slot in mine if slot.numel() >= values.numel()), None)
        # Those that are too small are let go: looks grow to a size and stay there.
        self._free.extend([*others, *(slot for slot in mine if slot is not found and slot.numel() >= values.numel())])
        if found is not None:
            return found
        return torch.empty(values.numel(), dtype=values.dtype, device="cpu", pin_memory=True)

    def give_back(self, slot: Tensor) -> None:
        """It can be used again."""
        self._free.append(slot)

    def let_others_capture(self) -> None:
        """Keep the writer's questions from breaking a CUDA graph that another thread captures; see `transfer`."""
        if not self._lets_capture:
            self._lets_capture = True
            with contextlib.suppress(OSError, AttributeError):
                mode = ctypes.c_int(_THREAD_LOCAL_CAPTURE)
                ctypes.CDLL("libcuda.so.1").cuThreadExchangeStreamCaptureMode(ctypes.byref(mode))
