"""Reading tasks, each in a fresh process: `python -m benchmarks.readings TASK PATH ...` prints one line of JSON.

Imports are not counted; the page cache is warm; CPU is that of all threads; memory comes in small pages.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine, workload

WIDTH_PX = 1_000
NUM_ZOOMS = 40
METRIC = workload.NAMES[0]


def explorer_chart(root: str, run_id: str) -> dict[str, Any]:
    """One metric of one run to the pixels of a chart, then zooms into it."""
    from explorer.reading.downsample import m4
    from explorer.reading.scalars import SeriesStore

    store = SeriesStore()
    before_s = machine.cpu_s()
    series = store.series(Path(root) / run_id, METRIC)
    read_s = machine.cpu_s()
    rows = m4(series.step, series.value, 0, len(series) - 1, WIDTH_PX, blocks=series.blocks)
    chart_s = machine.cpu_s()
    zooms = []
    for low, high in _windows(len(series)):
        began_s = time.process_time()
        # As a chart does it: is there anything new, then the window.
        again = store.series(Path(root) / run_id, METRIC)
        m4(again.step, again.value, low, high, WIDTH_PX, blocks=again.blocks)
        zooms.append(time.process_time() - began_s)
    shown = series.value[rows]
    return {
        "first_s": chart_s - before_s,
        "read_s": read_s - before_s,
        "zoom_ms": float(np.median(zooms)) * 1e3,
        "shown": [len(series), float(shown.min()), float(shown.max()), float(shown[-1])],
    }


def pyarrow_chart(path: str) -> dict[str, Any]:
    """The same from one ideal file by plain pyarrow and numpy: lowest and highest of each pixel."""
    file = pq.ParquetFile(path)
    before_s = machine.cpu_s()
    table = file.read(columns=["step", METRIC], use_threads=False)
    step, value = (_numpy(table.column(name)) for name in ("step", METRIC))
    read_s = machine.cpu_s()
    low, high = _extremes(step, value, 0, len(step) - 1)
    chart_s = machine.cpu_s()
    starts = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    zooms, in_memory = [], []
    for first, last in _windows(len(step)):
        began_s = time.process_time()
        groups = [i for i in range(file.num_row_groups) if starts[i] <= last and starts[i + 1] > first]
        part = file.read_row_groups(groups, columns=["step", METRIC], use_threads=False)
        _extremes(*(_numpy(part.column(name)) for name in ("step", METRIC)), first, last)
        read_again_s = time.process_time()
        _extremes(step, value, first, last)
        zooms.append(read_again_s - began_s)
        in_memory.append(time.process_time() - read_again_s)
    return {
        "first_s": chart_s - before_s,
        "read_s": read_s - before_s,
        "zoom_ms": float(np.median(zooms)) * 1e3,
        "in_memory_ms": float(np.median(in_memory)) * 1e3,
        "shown": [len(step), float(low.min()), float(high.max()), float(value[-1])],
    }


def _windows(num: int) -> list[tuple[int, int]]:
    random = np.random.default_rng(5)
    spans = (num * 10.0 ** random.uniform(-4, -0.05, NUM_ZOOMS)).astype(int)
    return [(int(first), int(first + span)) for span in spans for first in random.integers(0, num - span, 1)]


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    return np.concatenate([np.frombuffer(c.buffers()[1], _DTYPES[c.type])[c.offset :][: len(c)] for c in column.chunks])


_DTYPES = {pa.int64(): np.int64, pa.float64(): np.float64, pa.int32(): np.int32}


def _extremes(step: np.ndarray, value: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    edges = np.unique(np.searchsorted(step, np.linspace(low, high + 1, WIDTH_PX + 1).astype(np.int64)))
    part = value[: edges[-1]]
    return np.minimum.reduceat(part, edges[:-1]), np.maximum.reduceat(part, edges[:-1])


def explorer_list(root: str) -> dict[str, Any]:
    """All runs of a root, first with nothing known, then again."""
    from explorer.reading.catalogue import Catalogue

    catalogue = Catalogue(root)
    before_s = time.process_time()
    infos = catalogue.refresh()
    first_s = time.process_time()
    catalogue.refresh()
    again_s = time.process_time()
    return {"first_ms": (first_s - before_s) * 1e3, "again_ms": (again_s - first_s) * 1e3, "runs": len(infos)}


def json_list(root: str) -> dict[str, Any]:
    """The least a list of runs can cost in Python: each summary through json.loads."""
    before_s = time.process_time()
    found = [json.loads((run / "summary" / "0001-00000.json").read_bytes()) for run in Path(root).iterdir()]
    return {"first_ms": (time.process_time() - before_s) * 1e3, "runs": len(found)}


def explorer_all(root: str) -> dict[str, Any]:
    """One metric of all runs."""
    from explorer.reading.scalars import SeriesStore

    store, runs = SeriesStore(), sorted(Path(root).iterdir())
    before_s = machine.cpu_s()
    found = [store.series(run, METRIC) for run in runs]
    spent_s = machine.cpu_s() - before_s
    return {"all_ms": spent_s * 1e3, "points": sum(map(len, found)), "sum": float(sum(s.value.sum() for s in found))}


def pyarrow_all(path: str) -> dict[str, Any]:
    """The same from one ideal file."""
    file = pq.ParquetFile(path)
    before_s = machine.cpu_s()
    table = file.read(columns=["run", "step", METRIC], use_threads=False)
    run, _, value = (_numpy(table.column(name)) for name in ("run", "step", METRIC))
    found = np.split(value, np.flatnonzero(run[1:] != run[:-1]) + 1)
    spent_s = machine.cpu_s() - before_s
    return {"all_ms": spent_s * 1e3, "points": len(value), "sum": float(sum(part.sum() for part in found))}


def pyarrow_all_files(root: str) -> dict[str, Any]:
    """The same from our own files, a file a run, by plain pyarrow without any check."""
    paths = sorted(Path(root).glob("*/scalars/*.parquet"))
    before_s = machine.cpu_s()
    points = 0
    for path in paths:
        table = pq.ParquetFile(path).read(columns=["step", METRIC], use_threads=False)
        points += len(_numpy(table.column(METRIC)))
    return {"all_ms": (machine.cpu_s() - before_s) * 1e3, "points": points}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task
    for task in (explorer_chart, pyarrow_chart, explorer_list, json_list, explorer_all, pyarrow_all, pyarrow_all_files)
}

if __name__ == "__main__":
    machine.without_huge_pages()
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])), flush=True)
