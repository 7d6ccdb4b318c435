"""A recorded model runs in a process that has none of its code, and gives to the last bit what the original gives."""

import contextlib
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import explorer
from explorer import Recorder
from explorer.recording.program.cloning import unwrap
from explorer.recording.program.encoding import input_paths, leaves, output_paths
from explorer.recording.program.staging import plain
from tests.program_models import FAMILIES, cnn, make, mlp

pytest.importorskip("transformers", reason="optional: models of other people")
from tests.hugging_face_models import HUGGING_FACE

pytestmark = pytest.mark.filterwarnings("ignore")  # those of PyTorch and transformers about themselves

# Whoever opens the run: there is no module of ours but `explorer`, and none of the authors' on its path.
READER = """
import json, sys
import torch
from explorer import load_model
for name, (run, given, found) in json.loads(sys.argv[1]).items():
    loaded = load_model(run, device="cpu")
    check = loaded.check()
    assert check.reproduces, (name, check)
    assert not any(check.differences.values()), (name, check)
    outputs = loaded.run(torch.load(given, weights_only=True)).outputs
    torch.save({path: torch.as_tensor(value) for path, value in outputs.items()}, found)
assert not {"tests", "transformers", "torch._dynamo"} & set(sys.modules)
"""


def build_all():
    """Name to (model as it is trained, example, another example)."""
    for name in FAMILIES:
        yield name, make(name)
    for name, (build, inputs) in HUGGING_FACE.items():
        torch.manual_seed(0)
        yield name, (build(), ((), inputs(2)), ((), inputs(3)))
    for name in ("GPT-2", "BERT"):
        build, inputs = HUGGING_FACE[name]
        torch.manual_seed(0)
        yield f"{name} in bfloat16", (build().bfloat16(), ((), inputs(2)), ((), inputs(3)))
    torch.manual_seed(0)
    yield "data parallel", (nn.DataParallel(cnn()), make("cnn")[1], make("cnn")[2])
    yield "distributed", (nn.parallel.DistributedDataParallel(mlp()), make("mlp")[1], make("mlp")[2])
    compiled = torch.compile(nn.parallel.DistributedDataParallel(mlp()), backend="eager")
    yield "compiled and distributed", (compiled, make("mlp")[1], make("mlp")[2])
    yield "under autocast", (mlp(), make("mlp")[1], make("mlp")[2])


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """What the other process gave for the other example, and the original, by name: (outputs, model, example)."""
    folder = tmp_path_factory.mktemp("reload")
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=0, world_size=1)
    known, wanted = {}, {}
    try:
        for number, (name, (model, (args, kwargs), other)) in enumerate(build_all()):
            with Recorder(name, root=folder / "runs", quiet=True, system_every_s=None) as rec:
                autocast = torch.autocast("cpu", dtype=torch.bfloat16) if name == "under autocast" else None
                with autocast or contextlib.nullcontext():
                    rec.program(model, *args, **kwargs)
                rec.snapshot(model, step=0)
            example = other or (args, kwargs)
            given, found = folder / f"{number}.given", folder / f"{number}.found"
            paths = input_paths(*example)
            torch.save(dict(zip(paths, leaves(*example), strict=True)), given)
            known[name] = [str(rec.path), str(given), str(found)]
            wanted[name] = (copy.deepcopy(unwrap(unwrap(model))), example)
    finally:
        torch.distributed.destroy_process_group()
    (folder / "path").mkdir()
    (folder / "path" / "explorer").symlink_to(Path(explorer.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": str(folder / "path")}
    command = [sys.executable, "-c", READER, json.dumps(known)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: (torch.load(known[name][2], weights_only=True), *wanted[name]) for name in known}


def test_every_family_gives_what_its_model_gives(reloaded):
    assert len(reloaded) == len(FAMILIES) + len(HUGGING_FACE) + 6
    for name, (found, model, (args, kwargs)) in reloaded.items():
        torch.manual_seed(0)
        with torch.no_grad():
            outputs = plain(model.eval().requires_grad_(False)(*args, **kwargs))
        wanted = dict(zip(output_paths(outputs), leaves([outputs], {}), strict=True))
        assert found.keys() == wanted.keys(), name
        for path, value in found.items():
            assert value.dtype == torch.as_tensor(wanted[path]).dtype, (name, path)
            assert torch.equal(value, torch.as_tensor(wanted[path])), (name, path)
