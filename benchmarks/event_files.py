"""TensorBoard's event files: written in bulk as SummaryWriter writes them, read by EventAccumulator.

Runs in TensorBoard's environment: `python -m benchmarks.event_files write|read ...` prints one line of JSON.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine, workload

WALL_S = 1_760_000_000.0
_MASK = 0xA282EAD8


def write(folder: str, num_runs: str, num_rows: str, num_metrics: str) -> dict[str, Any]:
    """One event a value, the records of `add_scalar` byte for byte but with a compiled checksum."""
    from google_crc32c import value as crc

    def record(body: bytes) -> bytes:
        head = struct.pack("<Q", len(body))
        return head + struct.pack("<I", _masked(crc(head))) + body + struct.pack("<I", _masked(crc(body)))

    tags = [b"\x0a" + bytes([len(name)]) + name.encode() + b"\x15" for name in workload.names(int(num_metrics))]
    for run in range(int(num_runs)):
        place = Path(folder) / f"run-{run:04d}"
        place.mkdir(parents=True)
        with open(place / f"events.out.tfevents.{1_760_000_000 + run}.bench.0.0", "wb", buffering=2**20) as file:
            file.write(record(b"\x09" + struct.pack("<d", WALL_S) + b"\x1a\x0dbrain.Event:2"))
            step = 0
            for index in range(-(-int(num_rows) // workload.BLOCK_STEPS)):
                block = workload.block(run, index, len(tags))[: int(num_rows) - index * workload.BLOCK_STEPS]
                for row in block.tolist():
                    head = (
                        b"\x09" + struct.pack("<d", WALL_S + step * 0.005) + (b"\x10" + _varint(step) if step else b"")
                    )
                    for tag, number in zip(tags, row, strict=True):
                        value = tag + struct.pack("<f", number)
                        file.write(record(head + b"\x2a" + bytes([len(value) + 2, 0x0A, len(value)]) + value))
                    step += 1
    return {}


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def read(folder: str, num_runs: str, num_rows: str) -> dict[str, Any]:
    """One metric of every run; EventAccumulator reads all metrics for it."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    before_s = machine.cpu_s()
    num_points = 0
    for run in range(int(num_runs)):
        accumulator = EventAccumulator(str(Path(folder) / f"run-{run:04d}"), size_guidance={SCALARS: 0})
        accumulator.Reload()
        num_points += len(accumulator.Scalars(workload.NAMES[0]))
    spent_s = machine.cpu_s() - before_s
    return {"cpu_s": spent_s, "right": num_points == int(num_runs) * int(num_rows)}


if __name__ == "__main__":
    tasks: dict[str, Callable[..., dict[str, Any]]] = {"write": write, "read": read}
    print(json.dumps(tasks[sys.argv[1]](*sys.argv[2:])), flush=True)
