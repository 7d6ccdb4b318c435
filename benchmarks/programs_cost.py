"""A captured model run again, beside the model itself; what capturing, storing and loading a program costs.

`python -m benchmarks.programs_cost MODEL REPEATS` is one trial: it prints one line of JSON. With 0 repeats it is one of
`torch.export.export` alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.report import Row, Target
from benchmarks.trials import Place, call, interleave
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.disk import Disk
from explorer.storage.program_file import read_program, write_program

EAGER = "PyTorch"
EXPORT, FIXED = "torch.export alone", "the same, sizes fixed"
MODELS = {"resnet": "ResNet-18, 224 px", "gpt": "GPT of 124M, 128 tokens"}
NOTE = (
    "One example, float32, one thread, no gradients; program and model in turn, the least of {repeats} runs each. "
    "The model runs in evaluation mode; the outputs are compared bit for bit before anything is measured."
)
NOTE_CAPTURE = (
    "With the trial of sizes and the check against the model. {nodes} nodes, which is what torch.export's time is "
    "divided by, too; its sizes vary as ours do, or are fixed, which gives a program for one batch size only. What "
    "PyTorch imports for its first export in a process takes {imports:.1f} s more, once."
)


class Block(nn.Module):
    """The basic block of a ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions beside a shortcut."""
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class Layer(nn.Module):
    """A transformer's layer: attention and a perceptron, each after a norm and beside a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Values [batch, time, width] to the same."""
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Token ids to logits, with tied embeddings: 124M parameters as it stands."""

    def __init__(self, vocabulary: int = 50_257, length: int = 1_024, width: int = 768, depth: int = 12) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList(Layer(width, 12) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [batch, time] to logits [batch, time, vocabulary]."""
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def make_model(name: str) -> tuple[nn.Module, Tensor]:
    """A model and an example for it."""
    if name == "gpt":
        return GPT(), torch.randint(0, 50_257, (1, 128))
    widths = (64, 128, 256, 512)
    blocks = [
        Block(widths[max(0, i - 1)] if j == 0 else width, width, 2 if i and j == 0 else 1)
        for i, width in enumerate(widths)
        for j in range(2)
    ]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1_000))
    return model, torch.randn(1, 3, 224, 224)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    repeats, inner = (2, 5) if place.quick else (5, 20)
    rows = []
    for name, title in MODELS.items():
        counts = {"ours": inner, "floor": 0}
        found = interleave(
            list(counts),
            repeats,
            lambda kind, name=name, counts=counts: call(
                place, place.python(None), "programs_cost", name, str(counts[kind]), cwd=place.work
            ),
        )
        trials, floor = found.get("ours", []), found.get("floor", [])
        if not trials:
            continue
        note = NOTE.format(repeats=inner)
        eager = {EAGER: [one["eager"] * 1e3 for one in trials]}
        for key, what, limit in (("program", "forward", 1.1), ("keep all", "forward, every value kept", 1.6)):
            ours = [one[key] * 1e3 for one in trials]
            rows.append(Row(f"{title}: {what}, CPU ms", ours, eager, [Target(limit, EAGER)], note))
        nodes = trials[0]["nodes"]
        capture_note = NOTE_CAPTURE.format(nodes=nodes, imports=min(one["imports"] for one in trials))
        per_node = [one["capture"] * 1e3 / nodes for one in trials]
        alone = {
            column: [one[key] * 1e3 / nodes for one in floor] for column, key in ((EXPORT, "free"), (FIXED, "fixed"))
        }
        rows.append(Row(f"{title}: capture, CPU ms a node", per_node, alone, [Target(15.0)], capture_note))
        rows.append(Row(f"{title}: program on disk, kB", [one["bytes"] / 1e3 for one in trials], {}, [Target(20.0)]))
        loads = [one["load"] * 1e3 for one in trials]
        rows.append(Row(f"{title}: reading the program, CPU ms", loads, {}, [Target(20.0)]))
        compiled = [one["compile"] * 1e3 for one in trials]
        rows.append(Row(f"{title}: looking up its operators, CPU ms", compiled, {}))
    return rows


def trial(name: str, repeats: int) -> dict[str, Any]:
    """CPU seconds of each task; the first capture of a process, as in a training."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, example = make_model(name)
    model.eval()
    imports_s = _cpu_s(lambda: capture(nn.Linear(2, 2), (torch.randn(2, 2),), {}))
    if not repeats:
        return _export_alone(model, example)
    found = capture(model, (example,), {})
    if found.document is None:
        raise ValueError(f"{name} was not captured: {found.why}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.json.gz"
        size = write_program(path, found.document, disk=Disk())
        load_s = min(_cpu_s(lambda: read_program(path)) for _ in range(5))
        program = read_program(path)
    compile_s = min(_cpu_s(lambda: Interpreter(program, found.constants)) for _ in range(3))
    interpreter = Interpreter(program, found.constants)
    weights = model.state_dict()
    tasks: dict[str, Callable[[], Any]] = {
        "eager": lambda: model(example),
        "program": lambda: interpreter.run([example], weights),
        "keep all": lambda: interpreter.run([example], weights, keep={"all"}),
    }
    with torch.no_grad():
        if not torch.equal(next(iter(tasks["program"]().outputs.values())), tasks["eager"]()):
            raise ValueError(f"the program of {name} gives something else than the model")
        times: dict[str, list[float]] = {task: [] for task in tasks}
        for _ in range(repeats):
            for task, run in tasks.items():
                times[task].append(_cpu_s(run))
    return {
        **{task: min(each) for task, each in times.items()},
        **{"nodes": len(program.graph.nodes), "capture": found.took_s, "bytes": size},
        **{"load": load_s, "compile": compile_s, "imports": imports_s},
    }


def _export_alone(model: nn.Module, example: Tensor) -> dict[str, float]:
    """CPU seconds of `torch.export.export`, the first of this model in the process, with free and with fixed sizes."""
    sizes = (dict.fromkeys(range(example.dim()), torch.export.Dim.AUTO),)
    with torch.no_grad():
        free_s = _cpu_s(lambda: torch.export.export(model, (example,), dynamic_shapes=sizes, strict=False))
        fixed_s = _cpu_s(lambda: torch.export.export(model, (example,), strict=False))
    return {"free": free_s, "fixed": fixed_s}


def _cpu_s(task: Callable[[], object]) -> float:
    began_s = time.process_time()
    task()
    return time.process_time() - began_s


if __name__ == "__main__":
    print(json.dumps(trial(sys.argv[1], int(sys.argv[2]))))
