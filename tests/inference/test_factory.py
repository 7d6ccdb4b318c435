"""The last rung: a user's own function makes the model; hooks keep and replace what its modules give."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from explorer.errors import ProgramError, UsageError
from explorer.inference.attribution import attribute
from explorer.inference.divergence import node_differences
from explorer.inference.edits.apply import Subject, apply
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.factory import Factory
from explorer.inference.hooked_model import HookedModel
from explorer.inference.sandbox.models import Models
from explorer.inference.sandbox.session import Sandbox
from explorer.storage.program_document import parse_program
from tests.inference.conftest import put_snapshot

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(width, 3)
        self.register_buffer("seen", torch.zeros(()), persistent=True)
        self.register_buffer("shift", torch.full((3,), 2.0), persistent=False)

    def forward(self, x, scale=None):
        self.seen.add_(1)
        y = self.last(self.act(self.first(x))) + self.shift
        y = self.act(y)  # called twice, in place
        if float(x.sum()) > 1e9:  # no export follows this
            y = y * 2
        return {"logits": y if scale is None else y * scale, "double": (y * 2, y.shape[0])}


def make():
    return Net(), torch.arange(8.0).reshape(2, 4)


def by_config(config):
    return Net(config["width"])


def named():
    return Net(), {"x": torch.ones(2, 4), "scale": torch.tensor(3.0)}


def fails():
    raise ValueError("no data folder")


def other():
    return "a model"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "my_models.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return str(tmp_path / "code")


@pytest.fixture
def made(folder):
    torch.manual_seed(0)
    module, examples = Factory("my_models:make", folder).make({})
    return module, HookedModel(module, examples)


def eager(module, x, weights):
    """What the user's module gives by itself, with a fresh copy of the weights."""
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    with torch.no_grad():
        return torch.func.functional_call(module, copies, (x,))


def weights_of(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def test_it_gives_what_the_module_gives_and_leaves_the_weights_alone(made):
    module, hooked = made
    weights, x = weights_of(module), torch.randn(5, 4)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    result = Subject(hooked, weights).run({"args[0]": x})
    wanted = eager(module, x, weights)
    assert list(result.outputs) == ["['logits']", "['double'][0]", "['double'][1]"]
    assert torch.equal(result.outputs["['logits']"], wanted["logits"])
    assert torch.equal(result.outputs["['double'][0]"], wanted["double"][0])
    assert result.outputs["['double'][1]"] == 5
    assert all(torch.equal(weights[name], before[name]) for name in before)  # the model counts in a buffer
    assert not module.training


def test_modules_are_nodes_by_path_and_values_are_kept_before_they_are_written_over(made):
    module, hooked = made
    names = [node.name for node in hooked.program.graph.nodes]
    assert names == ["first", "act", "last", "act.call1", "output.__double___0_"]
    assert [hooked.program.modules[node.module].type for node in hooked.program.graph.nodes[:3]] == [
        "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    x = torch.randn(3, 4)
    kept = hooked.run([x], weights_of(module), keep={"first", "act"}).kept
    assert torch.equal(kept["first"], torch.nn.functional.linear(x, module.first.weight, module.first.bias))
    assert torch.equal(kept["act"], kept["first"].relu())
    assert hooked.program == parse_program(hooked.document)


def test_edits_do_what_the_same_edits_do_by_hand(made):
    module, hooked = made
    weights, x = weights_of(module), torch.randn(30, 4)
    subject = Subject(hooked, weights, probe={"args[0]": torch.randn(6, 4)})
    scaled = apply(parse_recipe([{"edit": "scale", "target": "first.weight", "factor": 0.5}]), subject, {"args[0]": x})
    by_hand = eager(module, x, {**weights, "first.weight": weights["first.weight"] * 0.5})
    assert torch.equal(scaled.run().outputs["['logits']"], by_hand["logits"])
    recipe = parse_recipe([{"edit": "ablate", "node": "act", "part": "unit:1", "by": "zero"}])
    ablated = apply(recipe, subject, {"args[0]": x})

    def hook(_module, _args, output):
        return output.index_fill(-1, torch.tensor([1]), 0.0) if output.shape[-1] == 6 else None

    handle = module.act.register_forward_hook(hook)
    by_hand = eager(module, x, weights)
    handle.remove()
    assert torch.equal(ablated.run().outputs["['logits']"], by_hand["logits"])
    table = node_differences(ablated).set_index("node")["largest_change"]
    assert table["first"] == 0
    assert table["act"] > 0
    assert np.isfinite(attribute(scaled, "saliency", target=1, output="['logits']").values).all()


def test_inputs_by_name_and_the_configuration_reach_the_factory(folder):
    module, examples = Factory("my_models:named", folder).make({})
    hooked = HookedModel(module, examples)
    assert [found.path for found in hooked.program.inputs] == ["kwargs['x']", "kwargs['scale']"]
    result = Subject(hooked, weights_of(module)).run(examples)
    assert result.outputs["['logits']"].shape == (2, 3)
    module, examples = Factory("my_models:by_config", folder).make({"width": 9})
    assert module.first.out_features == 9
    assert examples == {}


def test_tied_weights_stay_one():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    module = Tied()
    hooked = HookedModel(module, {"args[0]": torch.ones(1, 4)})
    assert hooked.program.ties == (("a.weight", "b.weight"),)
    x = torch.randn(2, 4)
    edited = apply(
        parse_recipe([{"edit": "scale", "target": "a.weight", "factor": 2.0}]),
        Subject(hooked, dict(module.state_dict())),
        {"args[0]": x},
    )
    weight = module.a.weight.detach() * 2
    assert torch.equal(edited.run().outputs[""], x @ weight.T @ weight.T)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my_models:fails", "fails with ValueError: no data folder"),
        ("my_models:missing", "fails with AttributeError"),
        ("no_such_module_here:make", "fails with ModuleNotFoundError"),
        ("my_models:other", r"should return a torch.nn.Module.*found a str"),
    ],
)
def test_what_goes_wrong_in_the_users_code_is_told(folder, name, text):
    with pytest.raises(ProgramError, match=text):
        Factory(name, folder).make({})


@pytest.mark.parametrize("name", ["", "os", "os.system", "a:b:c", "../x:y", "a b:c", "x:y()", ":y", "x:"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UsageError, match=r"package\.module:function"):
        Factory(name, "/tmp")


def test_inputs_that_do_not_suit_the_model_are_refused(made):
    module, hooked = made
    for inputs, text in (
        ({"args[0]": torch.ones(2, 7)}, "your model fails with RuntimeError"),
        ({"args[1]": torch.ones(2, 4)}, "all arguments in order"),
        ({"args[0]['x']": torch.ones(2, 4)}, "part of a larger argument"),
        ([torch.ones(2, 4)] * 2, "takes 1 inputs; found 2"),
    ):
        with pytest.raises(ProgramError, match=text):
            hooked.run(inputs, weights_of(module))
    with pytest.raises(ProgramError, match="no module 'nowhere'"):
        hooked.run([torch.ones(2, 4)], weights_of(module), keep={"nowhere"})


def test_a_run_without_a_program_runs_in_the_sandbox_by_its_factory(folder, tmp_path):
    from explorer import Recorder

    module, examples = Factory("my_models:make", folder).make({})
    with Recorder("t", root=tmp_path, quiet=True, system_every_s=None, config={"width": 6}) as rec:
        rec.log({"loss": 1.0}, step=0)
    put_snapshot(rec.path, 4, module.state_dict())
    with Sandbox(factory=Factory("my_models:make", folder)) as box:
        box.add_model("m", lambda: {"run": str(rec.path), "step": 4, "factory": True})
        found = box.request("describe", {"key": "m"})
        assert not found["recorded"]
        assert np.array_equal(found["inputs"]["args[0]"], examples["args[0]"].numpy())
        answer = box.request("run", {"key": "m"})
        wanted = eager(module, examples["args[0]"], weights_of(module))["logits"]
        assert np.array_equal(answer["after"]["['logits']"], wanted.numpy())
        assert box.request("check", {"key": "m"}) == {"largest": None, "close": None}
    with Sandbox(factory=Factory("my_models:by_config", folder)) as box:
        box.add_model("m", lambda: {"run": str(rec.path), "step": 4, "factory": True})
        with pytest.raises(ProgramError, match="nothing to run the model on"):
            box.request("describe", {"key": "m"})


def test_a_factory_runs_on_the_recorded_examples_and_meets_the_recorded_output(recorded, digits):
    run = recorded(digits.model, digits.inputs[:4], labels=digits.labels[:4])
    opening = {"key": "m", "run": str(run), "factory": True}
    with Sandbox(factory=Factory("tests.inference.conftest:DigitsCNN", str(Path(__file__).parents[2]))) as box:
        box.add_model("m", lambda: opening)
        assert box.request("describe", {"key": "m"})["recorded"]
        assert box.request("check", {"key": "m"})["close"]
        answer = box.request("run", {"key": "m", "keep": ["conv2"]})
        assert np.array_equal(answer["after"][""], digits.eager(digits.inputs[:4]).numpy())
        assert answer["kept"]["conv2"].shape == (4, 16, 4, 4)
    with pytest.raises(UsageError, match="no factory was given on the command line"):
        Models().open(opening)


def test_no_request_names_a_factory_of_its_own(recorded, digits, tmp_path):
    marker = tmp_path / "marker"
    run = recorded(digits.model, digits.inputs[:4])
    models = Models()
    for wrong in ("os:system", {"name": "os:system", "folder": "/"}, 1):
        models.open({"key": "m", "run": str(run), "factory": wrong})
        assert models.opened({"key": "m"}).model.factory == ""
    assert not marker.exists()
