"""The page Inference: from a click to the answer, on a small CNN and on a GPT of 124M parameters.

`python -m benchmarks.inference_cost (clicks | gpt) FOLDER REPEATS` is one trial: it prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from benchmarks.programs_cost import EAGER, GPT
from benchmarks.report import Row, Target
from benchmarks.trials import REPOSITORY, Place, call
from explorer import Recorder
from explorer.inference.sandbox.session import Sandbox

CLICKS = {
    "first": ("page opened, with the start of the process that runs the model", None),
    "step": ("another step", 300.0),
    "example": ("another example", 300.0),
    "edit": ("an edit added: output, control, effect on 64 examples", 300.0),
}
NOTE_CLICKS = (
    "A CNN of 27,562 parameters on 64 images of 8 x 8 pixels, 12 snapshots; from the change of a widget to the end of "
    "the script, in wall time, the median of {repeats} clicks. The browser's drawing is not in it."
)
BROWSER_KINDS = {
    "step": "another step",
    "example": "another example",
    "edit": "an edit added",
    "undo": "the edit taken back",
}
NOTE_BROWSER = (
    "The same model in a headless Chromium of 1440 x 900: from the event of the click to the last paint of the "
    "output's numbers and bars, {repeats} times after one that does not count. Server, model and browser share the "
    "machine's cores. The effect on 64 examples is drawn below, after that."
)
NOTE_GPT = (
    "One sequence of 128 tokens, float32, one thread; CPU of the process that runs the model and of the one that asks, "
    "in which the logits (26 MB) are read. Another step reads 498 MB of weights from the run's Parquet file."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    repeats, inner = (1, 3) if place.quick else (3, 10)
    trials = []
    for name in ("clicks", "gpt"):
        found = [
            call(place, Path(sys.executable), "inference_cost", name, str(place.scratch()), str(inner), cwd=REPOSITORY)
            for _ in range(repeats)
        ]
        trials.append([one for one in found if "failed" not in one])
    clicks, gpt = trials
    note = NOTE_CLICKS.format(repeats=inner)
    rows = []
    for key, (what, limit) in CLICKS.items():
        targets = [] if limit is None else [Target(limit)]
        rows.append(Row(f"Digits CNN: {what}, wall ms", [one[key] * 1e3 for one in clicks], {}, targets, note))
    rows += _in_a_browser(place, repeats, inner)
    eager = {EAGER: [one["eager"] * 1e3 for one in gpt]}
    rows += [
        Row("GPT of 124M: first answer, wall ms", [one["first wall"] * 1e3 for one in gpt], {}, [Target(3_000.0)],
            NOTE_GPT + " From a cold start of the process."),
        Row("GPT of 124M: first answer, CPU ms", [one["first"] * 1e3 for one in gpt], {}, [Target(3_000.0)], NOTE_GPT),
        Row("GPT of 124M: another text, CPU ms", [one["later"] * 1e3 for one in gpt], eager, [Target(1.2, EAGER)],
            NOTE_GPT),
        Row("GPT of 124M: a layer edited, CPU ms", [one["edited"] * 1e3 for one in gpt], eager, [Target(1.2, EAGER)],
            NOTE_GPT),
        Row("GPT of 124M: another step, read anew, CPU ms", [one["step"] * 1e3 for one in gpt], {}, [], NOTE_GPT),
        Row("GPT of 124M: back to a step, CPU ms", [one["back"] * 1e3 for one in gpt], eager, [Target(1.2, EAGER)],
            NOTE_GPT),
    ]  # fmt: skip
    return rows


def _in_a_browser(place: Place, repeats: int, inner: int) -> list[Row]:
    """The same clicks up to what the browser has drawn; none where Playwright or a browser is missing."""
    root = place.scratch()
    record_cnn(root)
    python = Path(sys.executable)
    found = [call(place, python, "inference_browser", str(root), str(inner), cwd=REPOSITORY) for _ in range(repeats)]
    found = [one for one in found if "failed" not in one]
    note = NOTE_BROWSER.format(repeats=inner)
    return [
        Row(f"Digits CNN in a browser: {BROWSER_KINDS[kind]}, drawn, {name} wall ms",
            [float(of(one[kind])) for one in found], {}, [Target(300.0)], note)
        for kind in BROWSER_KINDS
        for name, of in (("minimum", min), ("median", np.median))
    ]  # fmt: skip


def record_cnn(root: Path) -> None:
    """A run of the small CNN: 13 snapshots and 64 examples."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 44), nn.ReLU(), nn.Linear(44, 10))
    with Recorder("cnn", root=root, quiet=True, system_every_s=None) as rec:
        for step in range(12):
            rec.snapshot(model, step=step)
            with torch.no_grad():
                layers[3].weight.mul_(1.05)
        rec.snapshot(model, step=12)
        rec.program(model, torch.rand(64, 1, 8, 8), labels=torch.arange(64) % 10, kind="image")


def clicks(root: Path, repeats: int) -> dict[str, float]:
    """Seconds of wall time of each kind of click on the page, without a browser."""
    from streamlit.testing.v1 import AppTest

    record_cnn(root)
    os.environ["EXPLORER_ROOT"] = str(root)
    app = AppTest.from_file(str(REPOSITORY / "streamlit_app.py"), default_timeout=120)
    app.switch_page(str(REPOSITORY / "explorer" / "app" / "pages" / "inference.py"))
    found = {"first": _wall_s(app.run)}
    times: dict[str, list[float]] = {"step": [], "example": [], "edit": []}
    for repeat in range(repeats):
        step = next(each for each in app.select_slider if "step" in each.label)
        times["step"].append(_wall_s(lambda step=step, to=repeat % 11: step.set_value(to).run()))
        example = app.selectbox(key="linked.example")
        times["example"].append(_wall_s(lambda box=example, to=str(repeat + 1): box.select(to).run()))
        app.selectbox(key="inference.weight_edit").select("zero").run()
        times["edit"].append(_wall_s(lambda: app.button(key="inference.add.weights").click().run()))
        app.button(key="inference.undo").click().run()
        if app.exception or app.error:
            raise ValueError(f"the page failed: {app.exception or app.error}")
    return found | {kind: float(np.median(each)) for kind, each in times.items()}


def gpt(root: Path, repeats: int) -> dict[str, float]:
    """Seconds of each kind of question about the GPT, and of its forward pass."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = GPT().eval()
    texts = [torch.randint(0, 50_257, (1, 128)) for _ in range(repeats + 2)]
    with Recorder("gpt", root=root, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=0)
        rec.program(model, texts[0], kind="tokens")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.01)
        rec.snapshot(model, step=1)
    edit = {"edit": "scale", "target": "layers.3.qkv.weight", "factor": 0.5}
    with Sandbox(time_limit_s=300) as box:
        for step in (0, 1):
            opening = {"run": str(rec.path), "step": step}
            box.add_model(str(step), lambda opening=opening: opening)

        def ask(step: int, text: torch.Tensor, *recipe: dict[str, Any]) -> Callable[[], object]:
            value = {
                "key": str(step),
                "inputs": {"args[0]": text.numpy()},
                "recipe": list(recipe),
                "before": not recipe,
            }
            return lambda: box.request("run", value)

        began_s = time.perf_counter()
        first = _cpu_s(ask(0, texts[0]), box)
        wall_s = time.perf_counter() - began_s
        later, edited, eager = [], [], []
        with torch.no_grad():
            for text in texts[1:-1]:
                later.append(_cpu_s(ask(0, text), box))
                edited.append(_cpu_s(ask(0, text, edit), box))
                eager.append(_cpu_s(lambda text=text: model(text), None))
        step = _cpu_s(ask(1, texts[-1]), box)
        # Texts that were not asked about before, whose answers would be at hand.
        back = min(_cpu_s(ask(at % 2, torch.randint(0, 50_257, (1, 128))), box) for at in range(repeats))
    return {
        **{"first wall": wall_s, "first": first, "step": step, "back": back},
        **{"later": min(later), "edited": min(edited), "eager": min(eager)},
    }


def _wall_s(task: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    task()
    return time.perf_counter() - began_s


def _cpu_s(task: Callable[[], object], box: Sandbox | None) -> float:
    """CPU seconds of this process and of the sandbox's child, its start included where the task starts it."""
    before_s = time.process_time() + _child_s(box)
    task()
    return time.process_time() + _child_s(box) - before_s


def _child_s(box: Sandbox | None) -> float:
    pid = None if box is None else box.pid
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    print(json.dumps({"clicks": clicks, "gpt": gpt}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
