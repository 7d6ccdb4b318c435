"""Probes on their way from the device to their files; see `explorer.recording.tasks.Task`."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from explorer.errors import UsageError
from explorer.recording.notices import Notices
from explorer.recording.overhead import Overhead
from explorer.recording.probing.outputs import choose_layers, run_probe, tensors_of, unwrap
from explorer.recording.transfer import DEVICE_TIMEOUT_S, LetOthersCapture
from explorer.recording.values import clean_step, clean_text
from explorer.storage.disk import Disk
from explorer.storage.probes import HASH_OF_PROBE, ROLE, probe_path
from explorer.storage.snapshots import SnapshotTensor, write_snapshot

MAX_WAITING: Final = 2
"""Probes of any size that wait for the disk; of small ones there are more, for their steps are quicker than a disk."""
MAX_SMALL_WAITING: Final = 64
SMALL_BYTES: Final = 64 << 20
MAX_SKIPPED: Final = 20


@dataclass(frozen=True)
class _Waiting:
    """One probe that is not on disk yet; its tensors are made when all `events` have passed (CUDA only)."""

    step: int
    inputs: Sequence[Tensor]
    kept: Mapping[str, Tensor]
    events: Sequence[Any]

    @property
    def num_bytes(self) -> int:
        """Memory that its tensors take."""
        return sum(one.numel() * one.element_size() for one in (*self.inputs, *self.kept.values()))


class Probes:
    """Runs probes for the training and writes them from the writer thread.

    Attributes:
        name: key in the summary.
    """

    name = "probes"

    def __init__(
        self, run_dir: Path, attempt: int, rank: int, disk: Disk, notices: Notices, overhead: Overhead
    ) -> None:
        self._run_dir, self._attempt, self._rank, self._disk = run_dir, attempt, rank, disk
        self._notices, self._overhead = notices, overhead
        self._waiting: deque[_Waiting] = deque()
        self._let_others_capture = LetOthersCapture()
        self._skipped: dict[str, str] = {}
        self._num_written = self._num_lost = self._num_bytes = 0
        self._last_step: int | None = None
        self._last_ms = 0.0

    def take(self, model: object, batch: object, step: int, layers: object) -> bool:
        """Run the model on the batch, hand what its layers put out to the writer thread, and return whether it was so.

        Raises:
            UsageError: an argument is wrong; nothing else, whatever the model does.
        """
        patterns = _check(model, batch, layers)
        step = clean_step(step)
        if step < 0:
            raise UsageError(f"probe() expects a step of at least 0; found {step}")
        if self._is_full():
            self._lose("full", f"the probe of step {step} was left out: the disk is slower than the probes come")
            return False
        if any(tensor.is_cuda for tensor in tensors_of(batch)) and torch.cuda.is_current_stream_capturing():
            self._lose("capture", f"the probe of step {step} was left out: a CUDA graph was being captured")
            return False
        began, began_s = time.perf_counter(), time.thread_time()
        try:
            inner = unwrap(model)  # type: ignore[arg-type]
            chosen = choose_layers(inner, patterns)
            outputs = run_probe(inner, batch, chosen)
            inputs = [tensor.detach().clone() for tensor in tensors_of(batch)]
            events = _mark([*outputs.kept.values(), *inputs])
        except Exception as error:  # the model's own, or the device's: the training goes on
            self._lose("model", f"a probe failed in the model ({type(error).__name__}: {str(error)[:300]})")
            return False
        finally:
            self._last_ms = (time.perf_counter() - began) * 1e3
            self._overhead.sampling_s += time.thread_time() - began_s
        self._skipped = dict(list(outputs.skipped.items())[:MAX_SKIPPED])
        if not outputs.kept:
            why = next(iter(outputs.skipped.items()), None)
            told = f"{why[0]!r} {why[1]}" if why else f"no module of the model has a name like {list(patterns)}"
            self._lose("nothing", f"a probe has kept nothing: {told}")
            return False
        self._waiting.append(_Waiting(step, inputs, outputs.kept, events))
        return True

    def tick(self) -> None:
        """Write the probes that the device has finished; raises OSError, and then goes on with the same one."""
        self._write_arrived(wait=False)

    def finish(self) -> None:
        """Write every probe, waiting for the device."""
        self._write_arrived(wait=True)

    def _write_arrived(self, *, wait: bool) -> None:
        while self._waiting:
            waiting = self._waiting[0]
            try:
                if not self._has_arrived(waiting, wait=wait):
                    return
                self._write(waiting)
            except OSError:
                raise  # tried again, with this probe
            except Exception as error:  # the device's own errors, and those of special tensors
                what = f"the probe of step {waiting.step} is lost ({type(error).__name__}: {str(error)[:300]})"
                self._lose(type(error).__name__, what)
            self._waiting.popleft()

    def describe(self) -> dict[str, Any]:
        """Counts, what the last one took on the training's thread (`last_ms`, wall time), and outputs left out."""
        return {
            "written": self._num_written,
            "lost": self._num_lost,
            "bytes": self._num_bytes,
            "last_step": self._last_step,
            "last_ms": round(self._last_ms, 3),
            "skipped": self._skipped,
        }

    def _is_full(self) -> bool:
        if len(self._waiting) < MAX_WAITING:
            return False
        num_bytes = sum(one.num_bytes for one in list(self._waiting))
        return len(self._waiting) >= MAX_SMALL_WAITING or num_bytes > SMALL_BYTES

    def _has_arrived(self, waiting: _Waiting, *, wait: bool) -> bool:
        until = time.monotonic() + DEVICE_TIMEOUT_S
        for event in waiting.events:
            self._let_others_capture()
            while not event.query():
                if not wait:
                    return False
                if time.monotonic() > until:
                    raise RuntimeError(f"the device did not finish its work in {DEVICE_TIMEOUT_S:.0f} s")
                time.sleep(0.001)
        return True

    def _lose(self, key: str, what: str) -> None:
        self._num_lost += 1
        self._notices.warn(f"probe {key}", what)

    def _write(self, waiting: _Waiting) -> None:
        path = probe_path(self._run_dir, waiting.step, self._attempt, self._rank)
        self._disk.make_dir(path.parent)
        digest = _digest([_to_host(tensor) for tensor in waiting.inputs])
        tensors = self._tensors(waiting, digest)
        write_snapshot(path, waiting.step, tensors, attempt=self._attempt, rank=self._rank, disk=self._disk)
        self._num_written += 1
        self._last_step = waiting.step
        self._num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in waiting.kept.values())

    def _tensors(self, waiting: _Waiting, digest: bytes) -> Iterator[SnapshotTensor]:
        yield _stored(HASH_OF_PROBE, "uint8", (len(digest),), memoryview(digest))
        for name, tensor in waiting.kept.items():
            host = _to_host(tensor)
            dtype = str(host.dtype).removeprefix("torch.")
            yield _stored(clean_text(name), dtype, tuple(host.shape), _bytes(host))


def _stored(name: str, dtype: str, shape: tuple[int, ...], data: memoryview) -> SnapshotTensor:
    return SnapshotTensor(name, ROLE, dtype, shape, data, None, zlib.crc32(data))


def _check(model: object, batch: object, layers: object) -> Sequence[str]:
    if not isinstance(model, nn.Module):
        raise UsageError(f"probe() expects a torch.nn.Module; found {type(model).__name__}")
    tensors = tensors_of(batch)
    if not tensors or tensors[0].dim() == 0 or not tensors[0].shape[0]:
        raise UsageError(
            "probe() expects a batch of at least one example: a tensor whose first size is the number of examples, or "
            f"a tuple or a dict of such tensors that the model takes as its arguments; found {type(batch).__name__}"
        )
    patterns = [layers] if isinstance(layers, str) else layers
    if not isinstance(patterns, list | tuple) or not all(isinstance(one, str) for one in patterns) or not patterns:
        raise UsageError(f'layers should be a name pattern such as "encoder.*", or a list of them; found {layers!r}')
    return patterns


def _mark(tensors: Sequence[Tensor]) -> list[Any]:
    """Return an event on each CUDA device behind the work that makes the tensors there."""
    events = []
    for device in {tensor.device for tensor in tensors if tensor.device.type == "cuda"}:
        with torch.cuda.device(device):
            events.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            events[-1].record()
    return events


def _to_host(tensor: Tensor) -> Tensor:
    """Return the tensor in main memory; waits for the copy alone, on a stream of its own where there are streams."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    with torch.cuda.device(tensor.device), torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        return tensor.cpu()


def _digest(inputs: Sequence[Tensor]) -> bytes:
    """Return the SHA-256 of the probe: dtype, shape and bytes of each of its tensors."""
    made = hashlib.sha256()
    for tensor in inputs:
        made.update(f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)};".encode())
        made.update(_bytes(tensor))
    return made.digest()


def _bytes(tensor: Tensor) -> memoryview:
    """Return the tensor's own bytes in row-major order, little-endian as every machine that torch runs on."""
    flat = tensor.contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else memoryview(b"")
