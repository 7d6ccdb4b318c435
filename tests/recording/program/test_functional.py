"""In-place calls become others only where nothing else sees what they write; everything else is left to PyTorch."""

import pytest
import torch
from torch import nn

from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.program_document import parse_program
from tests.program_models import make


class Computes(nn.Module):
    """A function, as a model with one weight."""

    def __init__(self, function):
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.tensor([[1.0, -2.0, 3.0, -4.0]] * 4)), function

    def forward(self, x):
        return self.function(x, self.weight)


def of_its_own(x, w):
    y = x @ w
    y += x
    y.relu_().mul_(2)
    return y.masked_fill_(y > 9, -1.0)


def dropped_in_place(x, w):
    y = nn.functional.dropout(x @ w, 0.5, training=False, inplace=True)
    return y + nn.functional.dropout(x, 0.5, training=False)


def integers(x, w):
    places = torch.arange(x.shape[1])
    places += 2
    return x * places.mul_(3) @ w


def through_a_view(x, w):
    y = x @ w
    y[:, 0].zero_()
    y.t().add_(1)
    return y


def of_what_is_read_again(x, w):
    y = x @ w
    z = y.view(-1)
    z.relu_()
    return y.sum(1) + z.sum()


def into_the_input(x, w):
    return x.clamp_(0) @ w


def another_dtype(x, w):
    y = torch.zeros(4, dtype=torch.float64)
    y += x[0]
    return y.to(x.dtype) @ w


def maybe_a_view(x, w):
    y = x @ w
    z = y.reshape(-1, 4)
    z.neg_()
    return y + z


@pytest.fixture
def decomposed(monkeypatch):
    """How often PyTorch was asked to decompose a graph."""
    calls, original = [], torch.export.ExportedProgram.run_decompositions
    monkeypatch.setattr(
        torch.export.ExportedProgram, "run_decompositions", lambda *args: calls.append(1) or original(*args)
    )
    return calls


def both(function):
    """(what the model gives, what its program gives) for an example and for another one."""
    torch.manual_seed(0)
    model = Computes(function)
    found = capture(model, (torch.randn(3, 4),), {})
    assert (found.document or {}).get("route") == "export", found.why
    interpreter = Interpreter(parse_program(found.document), found.constants)
    for x in (torch.randn(3, 4), torch.randn(5, 4)):
        with torch.no_grad():
            wanted = model(x.clone())
            yield wanted, interpreter.run([x], model.state_dict()).outputs[""]


@pytest.mark.parametrize("function", [of_its_own, dropped_in_place, integers])
def test_what_is_written_into_memory_of_its_own_needs_no_second_trace(function, decomposed):
    assert all(torch.equal(one, other) for one, other in both(function))
    assert decomposed == []


@pytest.mark.parametrize(
    "function", [through_a_view, of_what_is_read_again, into_the_input, another_dtype, maybe_a_view]
)
def test_what_may_be_seen_elsewhere_is_left_to_pytorch(function, decomposed):
    assert all(torch.equal(one, other) for one, other in both(function))
    assert decomposed == [1]


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "unet", "gpt", "gpt with a mask", "vae", "graph", "lstm"])
def test_common_models_are_traced_once(name, decomposed):
    model, (args, kwargs), _ = make(name)
    assert capture(model, args, kwargs).document["route"] == "export"
    assert decomposed == []


def test_a_layer_that_does_nothing_in_evaluation_mode_is_still_seen_as_a_layer():
    model, (args, kwargs), _ = make("mlp")
    program = parse_program(capture(model, args, kwargs).document)
    kinds = [program.modules[node.module].type for node in program.graph.nodes if node.module is not None]
    assert kinds[-4:] == ["Linear", "ReLU", "Dropout", "Linear"]
