"""One measurement of one logger in a process of its own: `python -m benchmarks.trial LOGGER TASK FOLDER JSON`.

Runs in the logger's own virtual environment, so nothing of ours but this package is imported, and prints one line of
JSON. Started by `trials.run`.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, workload
from benchmarks.loggers import Logger, make

NUM_METRICS = 10
COUNT_FILE = "returned.bin"


def flat_out(logger: Logger, folder: Path, *, num_steps: int) -> dict[str, Any]:
    """Log as fast as possible: CPU of the calling thread, CPU of everything until fsynced, bytes."""
    version = logger.load()
    logger.open(folder, workload.names(NUM_METRICS))
    before_s, making_s, caller_s, step = machine.cpu_s(), 0.0, 0.0, 0
    blocks = workload.rows(0, num_steps, NUM_METRICS)
    while True:
        began_s = time.thread_time()
        block = next(blocks, None)
        making_s += time.thread_time() - began_s
        if block is None:
            break
        log = logger.log
        began_s = time.thread_time()
        for step, values in enumerate(block, step):  # noqa: B020 - goes on from the last block's step
            log(values, step)
        caller_s += time.thread_time() - began_s
        step += 1
    logger.close()
    machine.sync_folder(folder)
    total_s = machine.cpu_s() - before_s - making_s
    num_scalars = num_steps * NUM_METRICS
    found = logger.read(folder, workload.NAMES[0])
    return {
        "version": version,
        "caller_us": caller_s / num_scalars * 1e6,
        "total_us": total_s / num_scalars * 1e6,
        "bytes": machine.folder_bytes(folder) / num_scalars,
        "right": found is None or is_right(*found, num_steps),
    }


def is_right(steps: Any, values: Any, num_steps: int) -> bool:
    """Whether all steps came back with the values that were logged, to float32."""
    truth = workload.table(0, num_steps, 1)[:, 0]
    return bool(np.array_equal(steps, np.arange(num_steps)) and np.allclose(values, truth, rtol=1e-6))


def paced(logger: Logger, folder: Path, *, num_calls: int, every_s: float) -> dict[str, Any]:
    """One call every few milliseconds, as a training feels it: caches are cold, background threads keep up."""
    logger.load()
    logger.open(folder, workload.names(NUM_METRICS))
    names = workload.names(NUM_METRICS)
    rows = workload.table(0, num_calls, NUM_METRICS).tolist()
    gc.collect()
    wall_ns, cpu_ns = np.zeros(num_calls, np.int64), np.zeros(num_calls, np.int64)
    log, clock, thread_clock = logger.log, time.perf_counter_ns, time.thread_time_ns
    due_s = time.perf_counter()
    for step, row in enumerate(rows):
        due_s += every_s
        time.sleep(max(0.0, due_s - time.perf_counter()))
        values = dict(zip(names, [value * 1.0 for value in row], strict=True))  # made now, as a training does
        cpu_began = thread_clock()
        began = clock()
        log(values, step)
        ended = clock()
        cpu_ns[step] = thread_clock() - cpu_began
        wall_ns[step] = ended - began
    logger.close()
    warm = slice(num_calls // 20, None)  # the first calls open files and import
    parts = {"wall": wall_ns[warm], "cpu": cpu_ns[warm]}
    return {
        f"{what}_p{level}_us": float(np.percentile(times, level)) / 1e3
        for what, times in parts.items()
        for level in (50, 99)
    }


def start(logger: Logger, folder: Path, *, torch_first: bool) -> dict[str, Any]:
    """Import and open in a fresh process, beyond the torch that a training has imported already."""
    if torch_first:
        import torch

        torch.zeros(1)
    gc.collect()
    before_s = machine.cpu_s()
    version = logger.load()
    loaded_s = machine.cpu_s()
    logger.open(folder, workload.names(NUM_METRICS))
    opened_s = machine.cpu_s()
    with_pandas = "pandas" in sys.modules
    time.sleep(1.5)
    settled_s = machine.cpu_s()
    logger.close()
    return {
        "version": version,
        "start_s": opened_s - before_s,
        "import_s": loaded_s - before_s,
        "settled_s": settled_s - before_s,
        "pandas": with_pandas,
    }


def die(logger: Logger, folder: Path, *, every_s: float) -> dict[str, Any]:
    """Log until killed; the number of calls that returned is kept where it survives."""
    logger.load()
    logger.open(folder, workload.names(NUM_METRICS))
    with open(folder.parent / COUNT_FILE, "wb") as file:
        file.truncate(mmap.PAGESIZE)
    with open(folder.parent / COUNT_FILE, "r+b") as file:
        count = memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("q")
    step = 0
    for block in workload.rows(0, 10**9, NUM_METRICS):
        for values in block:
            logger.log(values, step)
            step += 1
            count[0] = step
            if every_s:
                time.sleep(every_s)
    raise AssertionError("nobody killed this")


def survived(logger: Logger, folder: Path) -> dict[str, Any]:
    """How many of the rows whose call had returned are lost, and whether the others are right."""
    version = logger.load()
    returned = int(np.fromfile(folder.parent / COUNT_FILE, np.int64, 1)[0])
    found = logger.read(folder, workload.NAMES[0])
    if found is None:
        raise ValueError(f"what {logger.name} keeps cannot be read back, so nobody knows what a kill has left of it")
    steps, values = found
    truth = workload.table(0, int(max(steps, default=0)) + 1, 1)[:, 0]
    lost = returned - len(np.intersect1d(steps, np.arange(returned)))
    right = bool(np.allclose(values, truth[steps], rtol=1e-6))
    return {"version": version, "returned": returned, "lost": lost, "right": right}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "flat_out": flat_out,
    "paced": paced,
    "start": start,
    "die": die,
    "survived": survived,
}


def main(name: str, task: str, folder: str, settings: str) -> None:
    """Do it, print one line, and go at once: some libraries keep threads."""
    machine.adopt_orphans()
    Path(folder).mkdir(parents=True, exist_ok=True)
    found = TASKS[task](make(name), Path(folder), **json.loads(settings))
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
