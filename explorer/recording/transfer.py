"""Values that are still on an accelerator, brought over without making the training wait.

CUDA: the caller enqueues, on its own stream, one conversion and one copy into pinned memory, and an event behind them;
the writer thread asks the event until it has passed. The order of the stream makes the value that of the moment of
`log()`, whatever the training does to the tensor afterwards. Other accelerators: the caller enqueues a copy on the
device, and the writer thread, which may wait, reads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

RING_VALUES = 65_536
DEVICE_TIMEOUT_S = 10.0
_THREAD_LOCAL_CAPTURE = 1


class Arriving(Protocol):
    """Values on their way."""

    def ready(self) -> bool:
        """Whether `numbers` would not wait."""

    def numbers(self) -> list[float]:
        """The values; waits for the device if it must."""


@dataclass(frozen=True)
class DeviceRow:
    """A row whose values are still on a device."""

    step: int
    monotonic_ns: int
    names: tuple[str, ...]
    arriving: Arriving


class Transfers:
    """Rows on their way: the training's threads add, the writer thread takes. `num_waiting` bounds the memory.

    Attributes:
        num_lost: values that could not be read, since the device failed or hung.
        problem: what it said.
    """

    def __init__(self) -> None:
        self.num_lost = 0
        self.problem: Exception | None = None
        self._waiting: deque[DeviceRow] = deque()
        self._cuda: _CudaRing | None = None

    @property
    def num_waiting(self) -> int:
        """Rows that have not arrived."""
        return len(self._waiting)

    def start(self, step: int, monotonic_ns: int, tensors: dict[str, Any]) -> bool:
        """Set the copies going; False when that cannot be: a CUDA graph is being captured, or all memory is in use."""
        by_device: dict[Any, list[str]] = {}
        for name, tensor in tensors.items():
            by_device.setdefault(tensor.device, []).append(name)
        for device, names in by_device.items():
            values = [tensors[name].detach() for name in names]
            arriving = self._send(device, values)
            if arriving is None:
                return False
            self._waiting.append(DeviceRow(step, monotonic_ns, tuple(names), arriving))
        return True

    def _send(self, device: Any, values: list[Any]) -> Arriving | None:  # noqa: ANN401 - torch is not imported here
        if device.type != "cuda":
            return _OnDevice([value.clone() for value in values])
        if self._cuda is None:
            self._cuda = _CudaRing()
        return self._cuda.send(device, values)

    def take(self, *, wait: bool = False) -> Iterator[tuple[DeviceRow, list[float]]]:
        """The rows that have arrived, in order; with `wait`, all of them. Called by the writer thread.

        Never raises for what a device does: rows that it does not give out are counted. One that hangs is waited for
        once, for 10 s.
        """
        while self._waiting:
            row = self._waiting[0]
            try:
                if not (wait or row.arriving.ready()):
                    return
                numbers = row.arriving.numbers()
            except Exception as error:
                self.problem = error
                hangs = isinstance(error, TimeoutError)
                for _ in range(len(self._waiting) if hangs else 1):
                    self.num_lost += len(self._waiting.popleft().names)
                continue
            self._waiting.popleft()
            yield row, numbers


class _OnDevice:
    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def ready(self) -> bool:
        return True

    def numbers(self) -> list[float]:
        return [float(value.item()) for value in self._values]


class LetOthersCapture:
    """Keeps the calls of a thread from breaking a CUDA graph that another thread is capturing.

    By default a capture fails when any thread asks an event; NCCL's watchdog in torch protects it the same way.
    """

    def __init__(self) -> None:
        self._done = False

    def __call__(self) -> None:
        """To be called by that one thread before it asks an event; does its work the first time."""
        if not self._done:
            self._done = True
            with contextlib.suppress(OSError, AttributeError):
                mode = ctypes.c_int(_THREAD_LOCAL_CAPTURE)
                ctypes.CDLL("libcuda.so.1").cuThreadExchangeStreamCaptureMode(ctypes.byref(mode))


class _CudaRing:
    """Pinned memory that is used round and round, since taking new pinned memory can make the device wait."""

    def __init__(self) -> None:
        self._memory: Any = None
        self._next = 0
        self._used = 0
        self._abandoned = 0
        self.let_others_capture = LetOthersCapture()

    def send(self, device: Any, values: list[Any]) -> Arriving | None:  # noqa: ANN401
        torch = sys.modules["torch"]
        with torch.cuda.device(device), torch.no_grad():
            if torch.cuda.is_current_stream_capturing():  # before anything else: taking pinned memory would break it
                return None
            if self._memory is None:
                self._memory = torch.empty(RING_VALUES, dtype=torch.float64, device="cpu", pin_memory=True)
            place = self.take_place(len(values))
            if place is None:
                return None
            start, held = place
            try:
                stacked = torch.stack([value.reshape(()).to(torch.float64) for value in values])
                slot = self._memory[start : start + len(values)]
                slot.copy_(stacked, non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            except BaseException:
                self._abandoned += held  # given back with the next row, for the ring is freed in order
                raise
        held, self._abandoned = held + self._abandoned, 0
        return _FromRing(self, slot, event, held)

    def take_place(self, count: int) -> tuple[int, int] | None:
        """Where `count` values go, and how much to give back for them; None when the ring is full.

        No call between reading and writing, so that two threads never get the same place.
        """
        start = self._next
        held = count
        if start + count > RING_VALUES:  # a row stays in one piece: skip the end of the ring
            held += RING_VALUES - start
            start = 0
        if self._used + held > RING_VALUES:
            return None
        self._used += held
        self._next = start + count
        return start, held

    def give_back(self, held: int) -> None:
        self._used -= held


class _FromRing:
    def __init__(self, ring: _CudaRing, slot: Any, event: Any, held: int) -> None:  # noqa: ANN401
        self._ring, self._slot, self._event, self._held = ring, slot, event, held

    def ready(self) -> bool:
        self._ring.let_others_capture()
        return bool(self._event.query())

    def numbers(self) -> list[float]:
        until = time.monotonic() + DEVICE_TIMEOUT_S
        while not self.ready():
            if time.monotonic() > until:
                raise TimeoutError(f"the device did not finish its work in {DEVICE_TIMEOUT_S:.0f} s")
            time.sleep(0.001)
        values: list[float] = self._slot.tolist()
        self._ring.give_back(self._held)
        return values
