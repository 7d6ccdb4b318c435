"""Values that are still on an accelerator, brought over without making the training wait.

CUDA: the caller enqueues, on its own stream, one conversion and one copy into pinned memory, and an event behind them;
the writer thread asks the event until it has passed. The order of the stream makes the value that of the moment of
`log()`, whatever the training does to the tensor afterwards. Other accelerators: the caller enqueues a copy on the
device, and the writer thread, which may wait, reads it.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

RING_VALUES = 65_536


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
    """Rows on their way: the training's threads add, the writer thread takes. `num_waiting` bounds the memory."""

    def __init__(self) -> None:
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

    def take(self, *, wait: bool = False) -> list[tuple[DeviceRow, list[float]]]:
        """The rows that have arrived, in order; with `wait`, all of them. Called by the writer thread."""
        arrived = []
        while self._waiting and (wait or self._waiting[0].arriving.ready()):
            row = self._waiting.popleft()
            arrived.append((row, row.arriving.numbers()))
        return arrived


class _OnDevice:
    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def ready(self) -> bool:
        return True

    def numbers(self) -> list[float]:
        return [float(value.item()) for value in self._values]


class _CudaRing:
    """Pinned memory that is used round and round, since taking new pinned memory can make the device wait."""

    def __init__(self) -> None:
        torch = sys.modules["torch"]
        self._memory = torch.empty(RING_VALUES, dtype=torch.float64, pin_memory=True)
        self._next = 0
        self._used = 0

    def send(self, device: Any, values: list[Any]) -> Arriving | None:  # noqa: ANN401
        torch = sys.modules["torch"]
        count = len(values)
        if self._next + count > RING_VALUES:  # a row stays in one piece: skip the end of the ring
            self._used += RING_VALUES - self._next
            self._next = 0
        if self._used + count > RING_VALUES:
            return None
        with torch.cuda.device(device), torch.no_grad():
            if torch.cuda.is_current_stream_capturing():
                return None
            stacked = torch.stack([value.reshape(()).to(torch.float64) for value in values])
            slot = self._memory[self._next : self._next + count]
            slot.copy_(stacked, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._next += count
        self._used += count
        return _FromRing(self, slot, event)

    def give_back(self, count: int) -> None:
        self._used -= count


class _FromRing:
    def __init__(self, ring: _CudaRing, slot: Any, event: Any) -> None:  # noqa: ANN401
        self._ring, self._slot, self._event = ring, slot, event

    def ready(self) -> bool:
        return bool(self._event.query())

    def numbers(self) -> list[float]:
        self._event.synchronize()
        values: list[float] = self._slot.tolist()
        self._ring.give_back(len(values))
        return values
