"""Recipes on a run on disk, and the script that repeats them."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch

import explorer
from explorer.errors import RunNotFound, SnapshotNotFound, UsageError
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.edits.script import script
from explorer.inference.sandbox.session import Sandbox
from explorer.storage.disk import Disk
from explorer.storage.snapshots import SnapshotTensor, snapshot_path, write_snapshot

ROOT = Path(__file__).parents[3]


def as_stored(name, tensor, role):
    data = memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    dtype = str(tensor.dtype).removeprefix("torch.")
    return SnapshotTensor(name, role, dtype, tuple(tensor.shape), data, None, zlib.crc32(data))


def record(root, case, name, by_step):
    """A run with the program, examples and snapshots of a case."""
    buffers = {name for name, _ in case.model.named_buffers()}
    with explorer.Recorder(name, root=root, quiet=True) as rec:
        rec.log({"loss": 1.0}, step=100)
        rec.program(case.model, case.inputs[:6], labels=case.labels[:6])
    path = rec.path
    for step, weights in by_step.items():
        stored = [as_stored(key, value, "buffer" if key in buffers else "param") for key, value in weights.items()]
        write_snapshot(snapshot_path(path, step, 1, 0), step, stored, attempt=1, rank=0, disk=Disk())
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, digits):
    """Two runs in one folder; the second one only has its first step."""
    root = tmp_path_factory.mktemp("runs")
    other = record(root, digits, "other", {7: digits.first})
    run = record(root, digits, "run", {0: digits.first, 50: digits.halfway, 100: digits.weights})
    return explorer.open_run(run), explorer.open_run(other)


RECIPE = [
    {"edit": "scale", "target": "conv2.weight[3]", "factor": 0.5},
    {"edit": "interpolate", "target": "fc", "t": 0.3, "step": 50},
    {"edit": "box", "top": 2, "height": 2},
]


def test_a_recipe_runs_on_a_recorded_model(recorded, digits):
    run, _ = recorded
    model = explorer.load_model(run, step=100, device="cpu")
    edited = explorer.apply_recipe(RECIPE, model, run, example=3)
    weights = dict(digits.weights)
    weights["conv2.weight"] = weights["conv2.weight"].clone()
    weights["conv2.weight"][3] *= 0.5
    for name in ("fc.weight", "fc.bias"):
        weights[name] = (1 - 0.3) * weights[name] + 0.3 * digits.halfway[name]
    image = digits.inputs[3:4].clone()
    image[..., 2:4, :] = 0
    assert torch.equal(edited.run().outputs[""], digits.eager(image, weights))
    assert torch.equal(edited.original().outputs[""], digits.eager(digits.inputs[3:4]))


def test_weights_come_from_the_first_snapshot_and_from_other_runs(recorded, digits):
    run, other = recorded
    model = explorer.load_model(run, step=100, device="cpu")
    for recipe, weights in (
        ([{"edit": "reset", "target": ""}], digits.first),
        ([{"edit": "take", "target": "", "step": 50}], digits.halfway),
        ([{"edit": "take", "target": "", "step": 7, "run": other.info.run_id}], digits.first),
    ):
        found = explorer.apply_recipe(recipe, model, run).run().outputs[""]
        assert torch.equal(found, digits.eager(digits.inputs[:6], weights))


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        ({"step": 3}, SnapshotNotFound, "no snapshot at step 3; the nearest are 0, 50, 100"),
        ({"step": 7, "run": "nobody"}, RunNotFound, "no run 'nobody'"),
        ({"step": 7, "run": "../elsewhere"}, RunNotFound, "no run"),
    ],
)
def test_what_is_not_there_is_said(recorded, edit, error, text):
    run, _ = recorded
    model = explorer.load_model(run, step=100, device="cpu")
    with pytest.raises(error, match=text):
        explorer.apply_recipe([{"edit": "take", "target": "", **edit}], model, run)
    with pytest.raises(UsageError, match="one of 6 recorded ones"):
        explorer.apply_recipe([], model, run, example=6)


def test_a_script_repeats_the_result(recorded, tmp_path):
    run, _ = recorded
    code = script(parse_recipe(RECIPE), run.path, 100, example=3)
    assert len(code.splitlines()) < 20
    file = tmp_path / "again.py"
    file.write_text(code + "import torch; torch.save(after[''], 'after.pt')\n")
    found = subprocess.run(
        [sys.executable, "-W", "error", file],
        check=True, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.stdout.startswith("output\ntensor(")
    model = explorer.load_model(run, step=100, device="cpu")
    wanted = explorer.apply_recipe(RECIPE, model, run, example=3).run().outputs[""]
    assert torch.equal(torch.load(tmp_path / "after.pt", weights_only=True), wanted)


def test_names_cannot_break_out_of_a_script(tmp_path):
    recipe = parse_recipe([{"edit": "zero", "target": "a', 0), __import__('os')  # \"\"\" \\"}])
    code = script(recipe, 'it\'s \\ "here"\n', 1)
    compiled = compile(code, "script", "exec")
    assert "__import__" not in compiled.co_names


def test_the_sandbox_reads_a_recorded_run_itself(recorded, digits):
    run, _ = recorded
    with Sandbox() as sandbox:
        sandbox.add_model("run", lambda: {"run": str(run.path), "step": 100})
        answer = sandbox.request("run", {"key": "run", "recipe": [{"edit": "take", "target": "", "step": 50}]})
        steps = sandbox.request("scrub", {"key": "run", "steps": [0, 50, 100]})
        with pytest.raises(UsageError, match="reads its snapshots itself"):
            sandbox.request("snapshot", {"key": "run", "run": "", "step": 0, "weights": {}})
    assert (steps["outputs"][2] == digits.eager(digits.inputs[:6]).numpy()).all()
    assert (answer["before"][""] == digits.eager(digits.inputs[:6]).numpy()).all()
    assert (answer["after"][""] == digits.eager(digits.inputs[:6], digits.halfway).numpy()).all()
