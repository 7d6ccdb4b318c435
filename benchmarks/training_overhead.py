"""What logging does to a training: a small MLP step, with and without the call, in paired blocks of one process."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import workload
from benchmarks.loggers import LOGGERS, make
from benchmarks.report import CSV, FLOOR, TENSORBOARD, Row, Target, Values
from benchmarks.trials import NOT_INSTALLED, Place, call

BLOCK_STEPS = 20
SETTLE_S = 2.0  # what a logger does once at its start is not part of a step
ARMS = ("without", "with", "without again")
MAPPED = "mapped"
NAMES = {"explorer": "Explorer", "floor": FLOOR, MAPPED: MAPPED, "tensorboard": TENSORBOARD, "csvlogger": CSV}
NOTE = (
    "an MLP step (128 x 196 -> 160 -> 10, SGD, one thread) that takes {step_us:.0f} us without logging; {blocks} times "
    f"a block of {BLOCK_STEPS} steps each with ten floats logged a step, without, and without again, shuffled. Median "
    "of the paired differences with its 95% bootstrap interval in brackets. Two blocks without logging differ by "
    "{noise:.2f} us ({noise_low:.2f} to {noise_high:.2f}): that is the noise, and what the target allows; half of all "
    "pairs of blocks without logging differ by more than {spread:.1f} us a step. Floor: a bare list append, which a "
    "kill loses. The least that survives one, a struct.pack_into a file mapping with no look at names and types, adds "
    "{mapped:.2f} us ({mapped_low:.2f} to {mapped_high:.2f})."
)
NOTE_BACKGROUND = "CPU of all other threads from the first block to the last, over the steps that were logged."


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    num_blocks = 200 if place.quick else 1_000
    found: dict[str, dict[str, Any]] = {}
    for name in random.sample(list(NAMES), len(NAMES)):
        python = place.python(LOGGERS[name][0])
        if python is not None:
            cwd = place.scratch()
            arguments = (name, str(cwd / "run"), str(num_blocks))
            found[name] = call(place, python, "training_overhead", *arguments, cwd=cwd)
    ours = found["explorer"]
    noise, low, high = ours["noise_us"]
    mapped, mapped_low, mapped_high = found[MAPPED]["added_us"]
    note = NOTE.format(
        step_us=ours["step_us"], blocks=num_blocks, noise=noise, noise_low=low, noise_high=high,
        spread=ours["spread_us"], mapped=mapped, mapped_low=mapped_low, mapped_high=mapped_high,
    )  # fmt: skip
    others: dict[str, dict[str, Values]] = {"added_us": {}, "background_us": {}, "percent": {}}
    for name, column in NAMES.items():
        for key, cells in others.items():
            if name not in ("explorer", MAPPED):
                cells[column] = found[name][key] if name in found else NOT_INSTALLED
    allowed_us = float(f"{max(abs(low), abs(high)):.3g}")
    added = "added to a training step, us of the thread's CPU"
    return [
        Row(added, ours["added_us"], others["added_us"], [Target(allowed_us)], note, interval=True),
        Row("the same, % of the step", ours["percent"], others["percent"], [], note, interval=True),
        Row(
            "background threads, us of CPU a logged step",
            ours["background_us"],
            others["background_us"],
            [],
            NOTE_BACKGROUND,
        ),
    ]


def trial(name: str, folder: Path, num_blocks: int) -> dict[str, Any]:
    """Train; the three arms differ in the call alone."""
    import torch

    torch.set_num_threads(1)
    logger = make(name)
    logger.load()
    folder.mkdir(parents=True)
    logger.open(folder, workload.names(10))
    step_once = _training(torch)
    rows = [dict(zip(workload.NAMES, row, strict=True)) for row in workload.table(0, 1_000, 10).tolist()]
    spent: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(5):
        _block(step_once, rows, None, 0)
    time.sleep(SETTLE_S)
    step = 0
    all_s, thread_s = time.process_time(), time.thread_time()
    for _ in range(num_blocks):
        for arm in random.sample(ARMS, len(ARMS)):
            spent[arm].append(_block(step_once, rows, logger.log if arm == "with" else None, step))
            step += BLOCK_STEPS if arm == "with" else 0
    background_s = (time.process_time() - all_s) - (time.thread_time() - thread_s)
    logger.close()
    without, logged, again = (np.array(spent[arm]) / BLOCK_STEPS * 1e6 for arm in ARMS)
    step_us = float(np.median(without))
    added = _interval(logged - without)
    return {
        "step_us": step_us,
        "added_us": added,
        "noise_us": _interval(again - without),
        "spread_us": float(np.median(np.abs(again - without))),
        "percent": [100 * value / step_us for value in added],
        "background_us": [background_s / step * 1e6],
    }


def _training(torch: Any) -> Callable[[], float]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(196, 160), torch.nn.ReLU(), torch.nn.Linear(160, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs, labels = torch.randn(128, 196), torch.randint(0, 10, (128,))

    def step_once() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step_once


def _block(step_once: Callable[[], float], rows: list[dict[str, float]], log: Any, step: int) -> float:
    """Seconds of the thread's CPU. The row is made in every arm; the loss in it is the step's own."""
    began = time.thread_time()
    for index in range(BLOCK_STEPS):
        values = {**rows[(step + index) % len(rows)], "train/loss": step_once()}
        if log is not None:
            log(values, step + index)
    return time.thread_time() - began


def _interval(differences: np.ndarray) -> list[float]:
    """The median and its 95% bootstrap interval, as [median, low, high]."""
    random_state = np.random.default_rng(0)
    samples = random_state.choice(differences, (2_000, len(differences)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return [statistics.median(differences.tolist()), float(low), float(high)]


if __name__ == "__main__":
    print(json.dumps(trial(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))), flush=True)
