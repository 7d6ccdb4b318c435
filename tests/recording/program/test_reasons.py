"""Why a route failed is told to the author of the model: what it was and what to do, then what PyTorch said."""

import random
import re

import pytest
import torch
from torch import nn

from explorer import Recorder, RecorderWarning, open_run
from explorer.recording.program.capture import capture
from explorer.recording.program.reasons import MAX_CHARS, reason_of
from tests.program_models import make

pytestmark = pytest.mark.filterwarnings("ignore")


class Does(nn.Module):
    """A model that computes whatever it is told to."""

    def __init__(self, what):
        super().__init__()
        self.layer, self.what = nn.Linear(4, 4), what

    def forward(self, x):
        return self.what(self.layer, x)


def repeats(layer, x):
    for _ in range(int(x.abs().sum().item()) % 3 + 1):
        x = layer(x)
    return x


def fails(layer, x):
    raise RuntimeError("not today")


TOLD = {
    "if": (lambda layer, x: layer(x) if x.sum() > 0 else -layer(x), "tape", "use torch.where or torch.cond"),
    "loop": (repeats, "tape", "use torch.where or torch.cond"),
    "numpy": (lambda layer, x: layer(x / float(x.max().numpy())), "strict", "compute with tensors"),
    "sizes": (lambda layer, x: layer(x[:, :3]), None, r"rec\.program\(model, \*inputs"),
    "random": (lambda layer, x: layer(x) * random.random(), None, "draws random ones"),
    "missing": (lambda layer, x: layer(x, x), None, "did not take these inputs"),
    "own": (fails, None, "the model itself failed"),
    "memory": (lambda layer, x: layer(x[None].expand(10**12, 3, 4).clone()), None, "fewer or smaller"),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_a_model_does_is_told_with_advice(name):
    what, route, words = TOLD[name]
    found = capture(Does(what), (torch.rand(3, 4),), {})
    assert (found.document or {"route": None})["route"] == route
    told, reason = found.why[-1]
    assert re.search(words, reason), (told, reason)
    meaning, _, detail = reason.partition(" [detail: ")
    assert "Error" not in meaning
    assert detail.endswith("]")


def test_packed_sequences_say_what_to_do():
    model, (args, kwargs), _ = make("packed")
    assert all("[detail: " in reason for _, reason in capture(model, args, kwargs).why)


def test_lazy_modules_are_named():
    found = capture(nn.LazyLinear(3), (torch.rand(3, 4),), {})
    assert "after the first forward" in found.why[0][1]


def test_the_last_route_tells_the_user_and_all_are_recorded(tmp_path):
    words = r"the model itself failed.*\[detail: RuntimeError: not today\]"
    with (
        Recorder("t", root=tmp_path, quiet=True, system_every_s=None) as rec,
        pytest.warns(RecorderWarning, match=words),
    ):
        rec.program(Does(fails), torch.rand(3, 4))
    (problem,) = open_run(rec.path).program_problems
    assert problem.index("tape: the model itself failed") < problem.index("export")


def test_a_reason_is_never_long():
    assert len(reason_of(RuntimeError("x" * 10_000))) <= MAX_CHARS
    assert reason_of(RuntimeError()) == "the forward could not be followed [detail: RuntimeError: no text]"
