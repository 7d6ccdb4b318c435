"""Large data sets of the reading benchmarks, written once through the storage layer and kept in the scratch folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import workload
from explorer import open_run
from explorer.recording.journal_file import JOURNAL_BYTES
from explorer.storage import columns
from explorer.storage.bins import histogram_of
from explorer.storage.columns import STEP, WALL_TIME, WALL_TYPE
from explorer.storage.disk import Disk
from explorer.storage.journal import HEADER_BYTES, MARK_BYTES, ROW_HEAD_BYTES
from explorer.storage.layout import FORMAT_VERSION, RunPaths, SegmentName
from explorer.storage.records import write_json
from explorer.storage.segments import write_segment
from explorer.storage.tensors import TensorRow, TensorSegments

FIRST_WALL_US = 1_760_000_000_000_000
STEP_US = 5_000


class QuickDisk(Disk):
    """Files without waiting for the device: a data set that is lost is made again."""

    def write_bytes(self, path: Path, data: bytes | memoryview, *, sync: bool) -> None:
        """Write a file."""
        super().write_bytes(path, data, sync=False)

    def sync_dir(self, path: Path) -> None:
        """Nothing to wait for."""


def once(work: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder, made by `make` unless it is there already, written by the same code."""
    sources = [*sorted(Path(columns.__file__).parent.glob("*.py")), Path(__file__), Path(workload.__file__)]
    written_by = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    folder = work / f"{name}-{written_by}"
    if not folder.exists():
        for old in work.glob(f"{name}-*"):
            shutil.rmtree(old)
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def rows_per_segment(num_metrics: int) -> int:
    """Rows that fill a journal of the usual size, so that a run has as many segments as a recorded one."""
    return (JOURNAL_BYTES - HEADER_BYTES) // (ROW_HEAD_BYTES + 8 * num_metrics + MARK_BYTES)


def write_run(root: Path, run_id: str, run: int, num_rows: int, num_metrics: int) -> None:
    """A finished run of one attempt, as the recorder leaves it."""
    paths, names = RunPaths(root / run_id), workload.names(num_metrics)
    for folder in ("attempts", "summary", "scalars", "system"):
        (paths.run_dir / folder).mkdir(parents=True)
    last: list[np.ndarray] = []
    per_segment, first, waiting = rows_per_segment(num_metrics), 0, np.empty((0, num_metrics))
    lows, highs = np.full(num_metrics, np.inf), np.full(num_metrics, -np.inf)
    segment = 0
    for index in range(-(-num_rows // workload.BLOCK_STEPS)):
        block = workload.block(run, index, num_metrics)[: num_rows - index * workload.BLOCK_STEPS]
        lows, highs = np.minimum(lows, block.min(axis=0)), np.maximum(highs, block.max(axis=0))
        last = [block[-1]]
        waiting = np.concatenate([waiting, block])
        ended = index == -(-num_rows // workload.BLOCK_STEPS) - 1
        while len(waiting) >= per_segment or (ended and len(waiting)):
            segment += 1
            part, waiting = waiting[:per_segment], waiting[per_segment:]
            name = SegmentName(1, 0, segment)
            write_segment(paths.run_dir, "scalars", name, [_table(first, part, names)], disk=QuickDisk())
            first += len(part)
    totals = zip(names, last[0].tolist(), lows.tolist(), highs.tolist(), strict=True)
    metrics = {name: [num_rows, end, num_rows - 1, low, 0, high, 0, 0, 0] for name, end, low, high in totals}
    _records(paths, run_id, num_rows, metrics)


def _table(first: int, values: np.ndarray, names: list[str]) -> pa.Table:
    step = np.arange(first, first + len(values))
    parts = [(STEP, pa.int64(), step), (WALL_TIME, WALL_TYPE, FIRST_WALL_US + step * STEP_US)]
    parts += [(name, pa.float64(), np.ascontiguousarray(values[:, i])) for i, name in enumerate(names)]
    arrays = [pa.Array.from_buffers(kind, len(step), [None, pa.py_buffer(data)]) for _, kind, data in parts]
    return pa.Table.from_arrays(arrays, names=[name for name, _, _ in parts])


def _records(paths: RunPaths, run_id: str, num_rows: int, metrics: dict[str, list[float]]) -> None:
    disk = QuickDisk()
    seed = int(run_id.rpartition("-")[2])
    config = {
        "lr": 1e-3 * (1 + seed % 7),
        "seed": seed,
        "model": {"width": 32 * (1 + seed % 4), "depth": 4, "name": "mlp"},
    }
    identity = {"name": run_id, "group": f"group-{seed % 20}", "tags": ["benchmark"], "notes": ""}
    identity |= {"format": FORMAT_VERSION, "created": f"2026-11-20T{seed % 24:02d}:00:00.000Z", "config": config}
    write_json(paths.run_json, {**identity, "run_id": run_id, "argv": ["train.py"]}, disk=disk)
    attempt = {"format": FORMAT_VERSION, "attempt": 1, "rank": 0, "world_size": 1, "started": identity["created"]}
    write_json(paths.attempt_json(1, 0), {**attempt, "resumed_from_step": None, "config": {}, "argv": []}, disk=disk)
    summary = {"state": "finished", "error": None, "heartbeat": 9, "heartbeat_every_s": 5.0, "host": "bench"}
    summary |= {"started": identity["created"], "updated": identity["created"], "duration_s": num_rows * STEP_US / 1e6}
    summary |= {"last_step": num_rows - 1, "rows": num_rows, "scalars": num_rows * len(metrics), "dropped_rows": 0}
    summary |= {"refused_values": 0, "warnings": [], "overhead": {}, "metrics": metrics}
    write_json(paths.summary_json(1, 0), {**identity, **summary}, disk=disk)


def write_ideal(path: Path, num_runs: int, num_rows: int, num_metrics: int) -> None:
    """The same rows in one plain Parquet file: run, step, a column a metric; zstd 1, byte-stream split."""
    names = workload.names(num_metrics)
    kinds: dict[str, Any] = {"run": pa.int32(), "step": pa.int64(), **dict.fromkeys(names, pa.float64())}
    encodings = dict.fromkeys(names, "BYTE_STREAM_SPLIT") | {
        "run": "DELTA_BINARY_PACKED",
        "step": "DELTA_BINARY_PACKED",
    }
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "column_encoding": encodings}
    with pq.ParquetWriter(path, pa.schema(list(kinds.items())), **options) as writer:
        parts: list[pa.Table] = []
        for run in range(num_runs):
            for index in range(-(-num_rows // workload.BLOCK_STEPS)):
                block = workload.block(run, index, num_metrics)[: num_rows - index * workload.BLOCK_STEPS]
                step = index * workload.BLOCK_STEPS + np.arange(len(block))
                data = [np.full(len(block), run, np.int32), step, *block.T]
                arrays = [
                    pa.Array.from_buffers(kind, len(block), [None, pa.py_buffer(np.ascontiguousarray(column))])
                    for kind, column in zip(kinds.values(), data, strict=True)
                ]
                parts.append(pa.Table.from_arrays(arrays, names=list(kinds)))
                last = run == num_runs - 1 and index == -(-num_rows // workload.BLOCK_STEPS) - 1
                if last or sum(part.num_rows for part in parts) >= 2**17:
                    writer.write_table(pa.concat_tables(parts))
                    parts = []


def long_run(work: Path, num_rows: int, num_metrics: int) -> tuple[Path, Path]:
    """(root with one run, the ideal file)."""

    def make(folder: Path) -> None:
        write_run(folder / "root", "long-0000", 0, num_rows, num_metrics)
        write_ideal(folder / "ideal.parquet", 1, num_rows, num_metrics)

    folder = once(work, f"long-{num_rows}x{num_metrics}", make)
    return folder / "root", folder / "ideal.parquet"


def many_runs(work: Path, num_runs: int, num_rows: int, num_metrics: int) -> tuple[Path, Path]:
    """(root with many runs, the ideal file)."""

    def make(folder: Path) -> None:
        for run in range(num_runs):
            write_run(folder / "root", f"many-{run:04d}", run, num_rows, num_metrics)
        write_ideal(folder / "ideal.parquet", num_runs, num_rows, num_metrics)

    folder = once(work, f"many-{num_runs}x{num_rows}x{num_metrics}", make)
    return folder / "root", folder / "ideal.parquet"


def watched_run(work: Path, num_steps: int, num_values: int) -> Path:
    """A root with one run and one of its tensors at every step: a distribution that grows and shifts, as in a training.

    Values with heavy tails, in nearly as many bins as a row may have (512).
    """

    def make(folder: Path) -> None:
        write_run(folder, "watched-0", 0, num_steps, 1)
        rng = np.random.default_rng(0)
        values = (rng.normal(size=num_values) * np.exp(0.5 * rng.normal(size=num_values))).astype(np.float32)
        segments = TensorSegments(folder / "watched-0", 1, 0, QuickDisk())
        for step in range(num_steps):
            moved = values * (0.02 * (1 + step / num_steps)) + 1e-5 * step
            segments.add([_tensor_row(step, moved)])
        segments.finish()

    return once(work, f"watched-{num_steps}x{num_values}", make)


def _tensor_row(step: int, values: np.ndarray) -> TensorRow:
    found = histogram_of(values, step)
    counts = {field: int(getattr(found, field)[0]) for field in ("n", "zeros", "nans", "infs")}
    moments = {field: float(getattr(found, field)[0]) for field in ("mean", "std", "min", "max")}
    norm = float(np.linalg.norm(values))
    return TensorRow(
        step, FIRST_WALL_US + step * STEP_US, "layer.weight", "param", **counts, **moments, underflow=0, norm=norm,
        m=int(found.m[0]), bins=found.bins, counts=found.counts,
    )  # fmt: skip


def num_bins(root: Path) -> float:
    """How many bins a row of the first run's tensor has, on average."""
    rows = open_run(next(path for path in root.iterdir() if path.is_dir())).histogram("layer.weight")
    return len(rows.bins) / len(rows)
