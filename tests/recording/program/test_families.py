"""Every family of models is captured by the route that is said, and gives to the last bit what the model gives."""

import copy

import pytest
import torch

from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.recording.program.encoding import leaves, output_paths
from explorer.recording.program.staging import plain
from explorer.storage.program_document import parse_program
from explorer.storage.records import encode
from tests.program_models import FAMILIES, make

pytest.importorskip("transformers", reason="optional: models of other people")
from tests.hugging_face_models import HUGGING_FACE

pytestmark = pytest.mark.filterwarnings("ignore")  # those of PyTorch and transformers about themselves


def outputs_of(model, args, kwargs):
    """What a model gives in evaluation mode, by path, drawing from seed 0."""
    model = copy.deepcopy(getattr(model, "_orig_mod", model)).eval().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        found = plain(model(*args, **kwargs))
    return dict(zip(output_paths(found), leaves([found], {}), strict=True))


def run(found, model, args, kwargs):
    program = parse_program(found.document)
    weights = {name.replace("_orig_mod.", ""): tensor for name, tensor in model.state_dict().items()}
    given = dict(zip([each.path for each in program.inputs], leaves(args, kwargs), strict=True))
    with torch.no_grad():
        return Interpreter(program, found.constants).run(given, weights).outputs


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for path, value in found.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(wanted[path])), path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_program_is_its_model(name):
    route, *_ = FAMILIES[name]
    model, (args, kwargs), other = make(name)
    found = capture(model, args, kwargs)
    assert (found.document or {}).get("route") == route, found.why
    encode(found.document)  # strict JSON can hold it
    assert_equal(found.outputs, outputs_of(model, args, kwargs))
    assert_equal(run(found, model, args, kwargs), outputs_of(model, args, kwargs))
    assert all(apart == 0 for apart in found.document["check"].values())
    if other:
        assert_equal(run(found, model, *other), outputs_of(model, *other))


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_a_program_is_its_model_of_hugging_face(name):
    build, inputs = HUGGING_FACE[name]
    torch.manual_seed(0)
    model = build()
    found = capture(model, (), inputs(2))
    assert (found.document or {}).get("route") == "export", found.why
    other = inputs(3)
    assert_equal(run(found, model, (), other), outputs_of(model, (), other))
