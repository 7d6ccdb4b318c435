"""Saving and reading parameters: `rec.snapshot` beside `torch.save`, `safetensors`, and one bare copy of them.

`python -m benchmarks.snapshots_cost FOLDER JSON` measures in a process of its own and prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.report import Row, Target, Values
from benchmarks.trials import NOT_INSTALLED, Place, call

TORCH, SAFETENSORS, COPY = "torch.save", "safetensors", "one copy"
WIDTH = 768
NUM_STEPS = 100
ONE_TENSOR = "blocks.0.mlp.weight"
NOTE_WRITE = (
    "{values:,} float32 parameters in {tensors} tensors ({megabytes:,.0f} MB), from the call until they are forced to "
    "the disk, wall time; ours in its background thread. Every repeat writes a new file with each, shuffled, after "
    "those of the repeat before were deleted. Checked bit for bit afterwards."
)
NOTE_BLOCK = (
    "CPU of the calling thread within `rec.snapshot(model, step)`; one copy: `torch._foreach_copy_` of the same "
    "tensors into memory that was used before. Shuffled, one after the other, after every tensor was changed."
)
NOTE_ONE = (
    "CPU, files in the page cache, checksums compared: the {one_mb:.1f} MB tensor of one of those snapshots; a "
    "{steps_mb:.2f} MB tensor of {steps} snapshots."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    cwd = place.scratch()
    settings = {"num_blocks": 3 if place.quick else 12, "repeats": 3 if place.quick else 9}
    found = call(place, Path(sys.executable), "snapshots_cost", str(cwd / "run"), json.dumps(settings), cwd=cwd)
    if "failed" in found:
        raise RuntimeError(found["failed"])
    if not found["right"]:
        place.problems.append("snapshots: what was read back is not what the model was")
    write, cpu = found["write_s"], found["cpu_s"]

    def others(figures: dict[str, list[float]]) -> dict[str, Values]:
        return {name: figures.get(name, NOT_INSTALLED) for name in (TORCH, SAFETENSORS)}

    note = NOTE_WRITE.format(**found)
    one = NOTE_ONE.format(steps=NUM_STEPS, **found)
    return [
        Row("write all parameters, s", write["ours"], others(write), [Target(1.25, TORCH)], note),
        Row("the same, s of CPU of all threads", cpu["ours"], others(cpu), [], note),
        Row("the training waits, ms", found["block_ms"], {COPY: found["copy_ms"]}, [Target(1.05, COPY)], NOTE_BLOCK),
        Row("one tensor of one step, ms", found["one_ms"], {}, [Target(5)], one),
        Row(f"one tensor of {NUM_STEPS} steps, ms", found["steps_ms"], {}, [Target(150)], one),
    ]


def trial(folder: Path, num_blocks: int, repeats: int) -> dict[str, Any]:
    """Everything, in one process."""
    import torch

    from explorer import Recorder
    from explorer.reading.snapshots import open_snapshot, read_tensor_over_steps

    torch.set_num_threads(1)
    folder.mkdir(parents=True)
    model = _model(torch, num_blocks, 50_257)
    parameters = dict(model.named_parameters())
    target = [torch.zeros_like(parameter) for parameter in parameters.values()]
    write: dict[str, list[float]] = {"ours": [], TORCH: []}
    cpu: dict[str, list[float]] = {"ours": [], TORCH: []}
    block_ms, copy_ms = [], []
    with Recorder("snapshots", root=folder, run_id="one", system_every_s=None, quiet=True) as rec:
        writers: dict[str, Callable[[int], None]] = {
            "ours": lambda step: _ours(rec, model, step),
            TORCH: lambda step: _forced(folder / "torch.pt", lambda path: torch.save(model.state_dict(), path)),
        }
        if find_spec("safetensors") is not None:
            from safetensors.torch import save_file

            writers[SAFETENSORS] = lambda step: _forced(
                folder / "x.safetensors", lambda path: save_file(model.state_dict(), path)
            )
            write[SAFETENSORS], cpu[SAFETENSORS] = [], []
        for step in range(-1, repeats):
            # New files for all, and those of the repeat before are gone for all: memory that a deleted file has just
            # given back is four times cheaper to write into.
            for path in [*folder.glob("*.pt"), *folder.glob("*.safetensors"), *rec.path.glob("params/*/*")]:
                path.unlink()
            _change(torch, model)
            for name in random.sample(list(writers), len(writers)):
                began, began_cpu = time.perf_counter(), time.process_time()
                writers[name](step + 1)
                if step >= 0:  # before that, memory and imports are new to everyone
                    write[name].append(time.perf_counter() - began)
                    cpu[name].append(time.process_time() - began_cpu)
        for step in range(repeats):
            _change(torch, model)
            arms = {
                "block": lambda at=1_000 + step: rec.snapshot(model, at),
                "copy": lambda: _copy(torch, target, model),
            }
            for name in random.sample(list(arms), 2):
                began = time.thread_time()
                arms[name]()
                (block_ms if name == "block" else copy_ms).append((time.thread_time() - began) * 1e3)
            _settle(rec)
    saved = open_snapshot(rec.path, 1_000 + repeats - 1)
    right = all((saved.read(name) == value.detach().numpy()).all() for name, value in parameters.items())
    one_ms = _timed(lambda: open_snapshot(rec.path, repeats).read(ONE_TENSOR), 9)
    small = _model(torch, 1, 100, width=256)
    with Recorder("steps", root=folder, run_id="steps", system_every_s=None, quiet=True) as rec:
        for step in range(NUM_STEPS):
            _change(torch, small)
            _ours(rec, small, step)
    steps_ms = _timed(lambda: read_tensor_over_steps(rec.path, ONE_TENSOR), 5)
    right &= len(read_tensor_over_steps(rec.path, ONE_TENSOR)[0]) == NUM_STEPS
    values = sum(parameter.numel() for parameter in parameters.values())
    return {
        "write_s": write, "cpu_s": cpu, "block_ms": block_ms, "copy_ms": copy_ms, "one_ms": one_ms,
        "steps_ms": steps_ms, "right": bool(right), "values": values, "tensors": len(parameters),
        "megabytes": values * 4 / 1e6, "one_mb": parameters[ONE_TENSOR].numel() * 4 / 1e6,
        "steps_mb": dict(small.named_parameters())[ONE_TENSOR].numel() * 4 / 1e6,
    }  # fmt: skip


def _model(torch: Any, num_blocks: int, vocabulary: int, width: int = WIDTH) -> Any:
    """Tensors of the shapes of GPT-2; nothing runs through them."""

    def linear(inputs: int, outputs: int) -> Any:
        return torch.nn.Linear(inputs, outputs)

    model = torch.nn.Module()
    model.embed = torch.nn.Embedding(vocabulary, width)
    model.blocks = torch.nn.ModuleList()
    for _ in range(num_blocks):
        block = torch.nn.Module()
        block.qkv, block.out = linear(width, 3 * width), linear(width, width)
        block.mlp, block.back = linear(width, 4 * width), linear(4 * width, width)
        block.norm = torch.nn.LayerNorm(width)
        model.blocks.append(block)
    return model


def _change(torch: Any, model: Any) -> None:
    with torch.no_grad():
        torch._foreach_add_(list(model.parameters()), 1e-3)


def _copy(torch: Any, target: list[Any], model: Any) -> None:
    with torch.no_grad():
        torch._foreach_copy_(target, list(model.parameters()))


def _ours(rec: Any, model: Any, step: int) -> None:
    if not rec.snapshot(model, step):
        raise RuntimeError(f"the snapshot of step {step} was not taken")
    _settle(rec)


def _settle(rec: Any) -> None:
    """Wait until the last one is written and forced to the disk."""
    task = next(task for task in rec._writer.tasks if task.name == "snapshots")
    while task.describe()["waiting"]:
        time.sleep(0.005)


def _forced(path: Path, save: Callable[[Path], None]) -> None:
    """Save to a new file and force it to the disk."""
    save(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _timed(read: Callable[[], object], repeats: int) -> list[float]:
    read()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        read()
        found.append((time.process_time() - began) * 1e3)
    return found


if __name__ == "__main__":
    print(json.dumps(trial(Path(sys.argv[1]), **json.loads(sys.argv[2]))), flush=True)
