"""The script that the page gives does what the page did, in a process that only has the public interface."""

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Recorder, load_model
from explorer.errors import ExplorerError
from explorer.inference.editing import edit_model
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.edits.script import script


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    with Recorder("mlp", root=tmp_path_factory.mktemp("script"), quiet=True) as rec:
        rec.snapshot(model, step=0)
        with torch.no_grad():
            model[2].weight.mul_(2)
        rec.snapshot(model, step=1)
        rec.program(model, torch.randn(6, 3))
    return rec.path


def test_the_script_leaves_the_outputs_of_the_original_and_of_the_edited_model(run_dir, capsys):
    recipe = parse_recipe([{"edit": "zero", "target": "2.weight[1]"}, {"edit": "reset", "target": "0"}])
    found = {}
    exec(script(str(run_dir), 1, recipe, example=4), found)
    model = load_model(run_dir, 1, device="cpu")
    inputs = model.inputs["args[0]"][4:5]
    assert torch.equal(found["before"][""], model.run([inputs]).outputs[""])
    weight = model.weights["2.weight"].clone()
    weight[1] = 0
    wanted = model.run([inputs], weights={**model.weights, "2.weight": weight}).outputs[""]
    assert torch.allclose(found["after"][""], wanted)
    assert "tensor" in capsys.readouterr().out


def test_weights_of_another_step_are_read_when_an_edit_needs_them(run_dir):
    model = load_model(run_dir, 1, device="cpu")
    edited = edit_model(model, [{"edit": "take", "target": "", "step": 0}], run=run_dir).run().outputs[""]
    assert torch.equal(edited, load_model(run_dir, 0, device="cpu").run().outputs[""])


def test_what_was_drawn_goes_before_the_recipe(run_dir):
    found = {}
    drawn = "inputs['args[0]'] = inputs['args[0]'] * 0"
    exec(script(str(run_dir), 1, (), example=2, drawn=drawn), found)
    bias_only = load_model(run_dir, 1, device="cpu").run([torch.zeros(1, 3)]).outputs[""]
    assert np.array_equal(found["after"][""].numpy(), bias_only.numpy())


def test_a_run_that_is_not_beside_is_refused(run_dir):
    model = load_model(run_dir, 1, device="cpu")
    with pytest.raises(ExplorerError, match="not in"):
        edit_model(model, [{"edit": "take", "target": "", "step": 0, "run": "../elsewhere"}], run=run_dir)
