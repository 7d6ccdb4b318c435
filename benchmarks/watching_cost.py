"""What a look into a model costs, beside TensorBoard's `add_histogram`, and what a step without a look costs."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.loggers import make
from benchmarks.report import TENSORBOARD, Row, Target, Values
from benchmarks.trials import NOT_INSTALLED, Place, Results, call, interleave

SIZES = {"10M": (20_000, 256, 6), "124M": (50_257, 768, 12)}  # vocabulary, width, blocks of a GPT-2
TASKS = {"histograms": ("param",), "everything": ("param", "grad"), "with updates": ("param", "grad", "update")}
REPEATS = {"histograms": 3, "everything": 3, "with updates": 2}
BELOW = {"10M": 10, "124M": 7}
WANDB = "W&B offline"
PEERS = {"tensorboard": TENSORBOARD, "wandb": WANDB}  # also the names of their environments
LOOKS = 3
BLOCK_STEPS = 20
NOTE = (
    "a model with the shapes of a GPT-2, float32, one thread. CPU of the process and what it started from the first of "
    "{looks} looks until everything is written, over their number; the model's own step is left out. All with small "
    "pages of memory: a single huge one costs the kernel up to 5 ms. Ours: exact counters, moments, norm, checksum and "
    "histogram of every parameter, and update ratios. TensorBoard: `add_histogram` of every parameter. W&B: "
    "`wandb.Histogram` of every parameter in one `log`."
)
NOTE_BYTES = "files of those looks over the number of histograms in them; our rows hold the statistics too."
NOTE_EVERYTHING = (
    "the training's thread alone, the quickest of {looks} looks: all of that for parameters and gradients, gradient "
    "cosines, update ratios (of more than 65,536 values from 16,384 of them; with updates: exact, and their histogram)."
)
NOTE_QUIET = (
    "added to a training step that is not looked at: an MLP step (128 x 196 -> 160 -> 10) that takes {step_us:.0f} us, "
    "blocks of 20 steps with and without, shuffled; CPU of the thread, median of the paired differences. Two blocks "
    "without differ by {noise:.2f} us."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    rows = []
    for size in ["10M"] if place.quick else SIZES:
        found = interleave(
            ["explorer", *PEERS], 2 if place.quick else REPEATS["histograms"], _trial(place, "histograms", size)
        )
        for peer in PEERS:
            if peer in found:
                place.versions[peer] = found[peer][0]["version"]
        targets = [Target(BELOW[size], TENSORBOARD, below=True), Target(2, WANDB, below=True)]
        what = f"histogram of every parameter, {size} of them, CPU s"
        rows.append(_compared(what, "all_s", found, targets, NOTE.format(looks=LOOKS)))
        targets = [Target(10, TENSORBOARD, below=True)]
        rows.append(_compared(f"bytes a histogram, {size}", "histogram_bytes", found, targets, NOTE_BYTES))
        for task in ("everything", "with updates"):
            found = interleave(["explorer"], 1 if place.quick else REPEATS[task], _trial(place, task, size))
            ours = [one["thread_s"] for one in found.get("explorer", [])]
            targets = [Target(0.5)] if (task, size) == ("everything", "124M") else []
            what = f"a look at {' and '.join(TASKS[task])}s, {size}, CPU s of the training's thread"
            rows.append(Row(what, ours, {}, targets, NOTE_EVERYTHING.format(looks=LOOKS)))
    return [*rows, _quiet_row(place)]


def _compared(what: str, key: str, found: Results, targets: list[Target], note: str) -> Row:
    ours = [one[key] for one in found.get("explorer", [])]
    others: dict[str, Values] = {
        column: [one[key] for one in found[peer]] if peer in found else NOT_INSTALLED for peer, column in PEERS.items()
    }
    return Row(what, ours, others, targets, note)


def _trial(place: Place, task: str, size: str) -> Callable[[str], dict[str, Any] | None]:
    def measure_one(name: str) -> dict[str, Any] | None:
        python = place.python(name if name in PEERS else None)
        if python is None:
            return None
        cwd = place.scratch()
        return call(place, python, "watching_cost", name, task, size, str(cwd / "run"), cwd=cwd)

    return measure_one


def _quiet_row(place: Place) -> Row:
    python = place.python(None)
    assert python is not None, "the environment that this runs in"
    cwd = place.scratch()
    num_blocks = 100 if place.quick else 500
    found = call(place, python, "watching_cost", "explorer", "quiet", str(num_blocks), str(cwd / "run"), cwd=cwd)
    note = NOTE_QUIET.format(step_us=found["step_us"], noise=found["noise_us"])
    return Row("a step that is not looked at, us", [found["added_us"]], {}, [Target(5.0)], note)


def looks(name: str, task: str, size: str, folder: Path) -> dict[str, Any]:
    """Look at a model some times."""
    machine.without_huge_pages()
    import torch

    torch.set_num_threads(1)
    model, optimizer = _gpt_shaped(torch, *SIZES[size])
    if name in PEERS:
        return _looks_of_tensorboard(model, folder) if name == "tensorboard" else _looks_of_wandb(model, folder)
    from explorer import Every, Recorder

    with Recorder("watching", root=folder, system_every_s=None, quiet=True) as recorder:
        recorder.watch(model, optimizer, kinds=TASKS[task], schedule=Every(1), program=False)
        optimizer.step()  # the first look makes the memory that the others use
        time.sleep(2.5)  # by then it is written
        before_s, spent_s, own_s = time.process_time(), [], 0.0
        for _ in range(LOOKS):
            sampling_s, thread_s = recorder.overhead["sampling_s"], time.thread_time()
            optimizer.step()
            spent_s.append(recorder.overhead["sampling_s"] - sampling_s)
            own_s += time.thread_time() - thread_s - spent_s[-1]
    num_histograms = (LOOKS + 1) * len(TASKS[task]) * len(list(model.parameters()))
    return {
        "all_s": (time.process_time() - before_s - own_s) / LOOKS,
        "thread_s": min(spent_s),
        "histogram_bytes": machine.folder_bytes(recorder.path / "tensors") / num_histograms,
    }


def _looks_of_tensorboard(model: Any, folder: Path) -> dict[str, Any]:
    logger: Any = make("tensorboard")
    version = logger.load()
    folder.mkdir(parents=True)
    logger.open(folder, [])
    before_s = 0.0
    for step in range(LOOKS + 1):
        if step == 1:
            before_s = time.process_time()
        for parameter_name, parameter in model.named_parameters():
            logger._writer.add_histogram(parameter_name, parameter, step)
    logger.close()
    return {
        "all_s": (time.process_time() - before_s) / LOOKS,
        "histogram_bytes": machine.folder_bytes(folder) / ((LOOKS + 1) * len(list(model.parameters()))),
        "version": version,
    }


def _looks_of_wandb(model: Any, folder: Path) -> dict[str, Any]:
    import wandb

    machine.adopt_orphans()
    folder.mkdir(parents=True)
    settings = wandb.Settings(mode="offline", console="off", x_disable_stats=True, silent=True)
    run = wandb.init(dir=str(folder), settings=settings)
    before_s = 0.0
    for step in range(LOOKS + 1):
        if step == 1:
            time.sleep(2.5)
            before_s = machine.cpu_s()
        values = {name: wandb.Histogram(one.detach().numpy()) for name, one in model.named_parameters()}
        run.log(values, step=step)
    run.finish()
    return {
        "all_s": (machine.cpu_s() - before_s) / LOOKS,
        "histogram_bytes": machine.folder_bytes(folder) / ((LOOKS + 1) * len(list(model.parameters()))),
        "version": f"W&B {wandb.__version__}",
    }


def _gpt_shaped(torch: Any, vocabulary: int, width: int, blocks: int) -> tuple[Any, Any]:
    """The parameters of a GPT-2 with gradients of noise, and an optimizer that changes them."""
    torch.manual_seed(0)
    block = [(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    shapes = [(vocabulary, width), (1024, width), *block * blocks, (width,), (width,)]
    model = torch.nn.ParameterList(
        torch.nn.Parameter(1 + 0.05 * torch.randn(shape) if len(shape) == 1 else 0.02 * torch.randn(shape))
        for shape in shapes
    )
    for parameter in model.parameters():
        parameter.grad = 1e-4 * torch.randn(parameter.shape)
    return model, torch.optim.SGD(model.parameters(), lr=1e-2)


def quiet(num_blocks: int, folder: Path) -> dict[str, Any]:
    """Steps of two equal models, one of which is watched; the third arm tells the noise."""
    import torch

    from explorer import Every, Recorder

    torch.set_num_threads(1)
    arms = {name: _training(torch) for name in ("without", "with", "without again")}
    spent: dict[str, list[float]] = {arm: [] for arm in arms}
    with Recorder("quiet", root=folder, system_every_s=None, quiet=True) as recorder:
        model, optimizer, _ = arms["with"]
        recorder.watch(model, optimizer, schedule=Every(10**9), program=False)
        for block in range(num_blocks + 5):
            for arm in random.sample(list(arms), len(arms)):
                step_once = arms[arm][2]
                began_s = time.thread_time()
                for _ in range(BLOCK_STEPS):
                    step_once()
                if block >= 5:
                    spent[arm].append((time.thread_time() - began_s) / BLOCK_STEPS * 1e6)
    pairs = {arm: [b - a for a, b in zip(spent["without"], spent[arm], strict=True)] for arm in arms}
    return {
        "step_us": statistics.median(spent["without"]),
        "added_us": statistics.median(pairs["with"]),
        "noise_us": statistics.median(pairs["without again"]),
    }


def _training(torch: Any) -> tuple[Any, Any, Callable[[], None]]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(196, 160), torch.nn.ReLU(), torch.nn.Linear(160, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs, labels = torch.randn(128, 196), torch.randint(0, 10, (128,))

    def step_once() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return model, optimizer, step_once


if __name__ == "__main__":
    name, task, size, folder = sys.argv[1:]
    found = quiet(int(size), Path(folder)) if task == "quiet" else looks(name, task, size, Path(folder))
    print(json.dumps(found), flush=True)
