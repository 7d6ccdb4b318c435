"""Programs by hand, and captured ones, to run."""

import pytest
import torch

from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.program_document import parse_program
from tests.program_models import make


@pytest.fixture
def document():
    """`document(nodes, ...)` is a program of one input `x` [any, 2] whose output is the last node."""

    def build(*nodes, inputs=None, weights=None, **changes):
        return {
            "format": 1,
            "route": "export",
            "why": [],
            "torch": torch.__version__,
            "step": 3,
            "autocast": "",
            "inputs": inputs or [{"name": "x", "path": "args[0]", "dtype": "float32", "shape": ["s0", 2]}],
            "symbols": {"s0": [1, None]},
            "weights": weights or {},
            "ties": [],
            "graph": {"nodes": list(nodes), "outputs": [{"node": nodes[-1]["name"] if nodes else "x"}]},
            "output_paths": [""],
            "modules": [],
            "check": {},
        } | changes

    return build


@pytest.fixture
def node():
    """`node(name, op, *args, **more)` is an entry of a document; a text beginning with @ is a reference."""

    def build(name, op, *args, **more):
        return {"name": name, "op": op, "args": [_argument(part) for part in args], **more}

    def _argument(part):
        if isinstance(part, str) and part.startswith("@"):
            return {"node": part[1:]}
        return [_argument(each) for each in part] if isinstance(part, list) else part

    return build


@pytest.fixture(scope="session")
def captured():
    """`captured(name)` is (model in evaluation mode, interpreter, weights, arguments) of a family."""
    known = {}

    def get(name):
        if name not in known:
            model, (args, kwargs), _ = make(name)
            found = capture(model, args, kwargs)
            model = model.eval().requires_grad_(False)
            known[name] = (model, Interpreter(parse_program(found.document), found.constants), args)
        model, interpreter, args = known[name]
        return model, interpreter, dict(model.state_dict()), args

    return get
