import subprocess
import sys

import pytest
import torch
from torch import nn

import explorer
from explorer import ProgramError, SnapshotNotFound, UsageError, load_model
from tests.inference.conftest import put_snapshot
from tests.program_models import GPT, VAE, cnn, mlp


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GPT(fused=False)


@pytest.fixture(scope="module")
def run(recorded, model):
    path = recorded(model, torch.randint(0, 30, (2, 6)), labels=[1, 2], vocabulary=[str(index) for index in range(30)])
    put_snapshot(path, 10, {name: value * 0.5 for name, value in model.state_dict().items()})
    return path


def test_a_step_reproduces_the_recorded_output_bit_for_bit(run):
    loaded = load_model(run, step=0, device="cpu")
    assert loaded.check().reproduces is True
    assert loaded.check().differences == {"[0]": 0.0}
    assert loaded.labels.tolist() == [1, 2]
    assert loaded.about["vocabulary"][3] == "3"


def test_any_step_gives_what_the_model_gives_with_those_weights(run, model):
    loaded = load_model(run, device="cpu")
    assert loaded.step == 10
    half = GPT(fused=False).requires_grad_(False).eval()
    half.load_state_dict({name: value * 0.5 for name, value in model.state_dict().items()})
    ids = torch.randint(0, 30, (3, 9))
    assert torch.equal(loaded.run([ids]).outputs["[0]"], half(ids)[0])
    check = loaded.check()
    assert check.reproduces is None
    assert "not those with which the model was captured" in check.reason


def test_a_program_that_lies_is_found_out(run):
    loaded = load_model(run, step=0, device="cpu")
    loaded.outputs["[0]"] += 0.1
    check = loaded.check()
    assert check.reproduces is False
    assert check.differences["[0]"] == pytest.approx(0.1, rel=1e-4)


def test_a_model_that_draws_random_numbers_is_reproduced_too(recorded):
    assert load_model(recorded(VAE(), torch.randn(3, 10)), device="cpu").check().reproduces is True


def test_a_model_in_bfloat16_runs_in_it_or_in_float32(recorded):
    path = recorded(mlp().bfloat16(), torch.randn(3, 4).bfloat16())
    assert load_model(path, device="cpu").check().reproduces is True
    wide = load_model(path, device="cpu", upcast=True)
    assert {value.dtype for value in wide.weights.values()} == {torch.float32}
    assert wide.run({"args[0]": torch.randn(3, 4)}).outputs[""].dtype == torch.float32


def test_edited_weights_are_a_copy(run):
    loaded = load_model(run, step=0, device="cpu")
    edited = {**loaded.weights, "blocks.0.mlp.0.weight": loaded.weights["blocks.0.mlp.0.weight"] * 0}
    assert not torch.equal(loaded.run(weights=edited).outputs["[0]"], loaded.run().outputs["[0]"])
    assert loaded.check().reproduces is True


def test_tapped_values_are_seen_and_changed_by_hooks(recorded):
    model = cnn()
    path = recorded(model, torch.randn(2, 1, 8, 8))
    model.eval()
    loaded = load_model(path, device="cpu")
    node = next(node.name for node in loaded.program.graph.nodes if "relu" in node.op)
    module = loaded.as_module(taps=[node])
    seen = {}
    module.taps[node].register_forward_hook(lambda tap, _, value: seen.update({"tap": value}))
    model[2].register_forward_hook(lambda tap, _, value: seen.update({"model": value.clone()}))
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    module(x).sum().backward()
    model(y).sum().backward()
    assert torch.equal(seen["tap"], seen["model"])
    assert torch.equal(x.grad, y.grad)
    module.taps[node].register_forward_hook(lambda tap, _, value: value * 0)
    assert not torch.equal(module(x), loaded.run([x]).outputs[""])


def test_a_tap_or_output_that_is_not_there_is_named(run):
    loaded = load_model(run, step=0, device="cpu")
    with pytest.raises(UsageError, match="should be a node of the program; found 'nowhere'"):
        loaded.as_module(taps=["nowhere"])
    with pytest.raises(UsageError, match=r"should be one of '\[0\]'; found '\[1\]'"):
        loaded.as_module("[1]")(*loaded.inputs.values())


def test_what_is_missing_is_said(run, recorded, tmp_path):
    with pytest.raises(SnapshotNotFound, match="nearest"):
        load_model(run, step=5)
    with pytest.raises(UsageError, match="no device 'tpu'"):
        load_model(run, step=0, device="tpu")
    with explorer.Recorder("t", root=tmp_path, quiet=True, system_every_s=None) as rec:
        pass
    with pytest.raises(ProgramError, match=r"call rec\.program"):
        load_model(rec.path)
    with explorer.Recorder("t", root=tmp_path, quiet=True, system_every_s=None) as rec:
        rec.program(nn.Linear(2, 2), torch.ones(1, 2))
    with pytest.raises(SnapshotNotFound, match="no snapshots"):
        load_model(rec.path)


def test_weights_may_come_from_elsewhere(run, model, tmp_path):
    torch.save({"model": {f"_orig_mod.{name}": value for name, value in model.state_dict().items()}}, tmp_path / "c.pt")
    assert load_model(run, weights=tmp_path / "c.pt", device="cpu").check().reproduces is True


def test_the_author_of_the_model_is_not_needed(run):
    code = f"""
import sys
from explorer import load_model
assert load_model({str(run)!r}, step=0, device="cpu").check().reproduces
assert not [name for name in sys.modules if "program_models" in name]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
