"""A recorded model as plain arrays is the one that `load_model` gives, and needs no torch."""

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Recorder, load_model, open_run
from explorer.inference.plain_model import (
    TOLERANCE,
    largest_difference,
    read_plain_model,
)
from explorer.programs import comparing


class Tied(nn.Module):
    """An embedding whose weights are those of the head."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.norm(self.embedding(tokens).mean(dim=1)))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    torch.manual_seed(0)
    model, tokens = Tied(), torch.randint(7, (5, 3))
    with Recorder("tied", root=tmp_path_factory.mktemp("plain"), quiet=True) as rec:
        rec.log({"loss": 1.0}, step=0)
        rec.snapshot(model, step=0)
        rec.program(model, tokens, labels=torch.arange(5), vocabulary=list("abcdefg"), kind="tokens")
    return open_run(rec.path)


def test_inputs_outputs_and_labels_are_those_of_load_model(recorded):
    plain, loaded = read_plain_model(recorded.path), load_model(recorded, device="cpu")
    assert plain.num_examples == 5
    assert plain.runs_single
    assert plain.kind == "tokens"
    assert plain.vocabulary == tuple("abcdefg")
    assert np.array_equal(plain.inputs["args[0]"], loaded.inputs["args[0]"].numpy())
    assert np.array_equal(plain.outputs[""], loaded.outputs[""].numpy())
    assert np.array_equal(plain.labels, np.arange(5))


def test_a_run_without_a_program_has_no_model(tmp_path):
    with Recorder("none", root=tmp_path, quiet=True) as rec:
        rec.log({"loss": 1.0}, step=0)
    assert read_plain_model(rec.path) is None


def test_differences_are_judged_as_the_recorder_judges_them():
    assert TOLERANCE == comparing.TOLERANCE
    wanted = {"": np.array([1.0, np.nan, 2.0], dtype=np.float32)}
    assert largest_difference({"": wanted[""].copy()}, wanted) == (0.0, True)
    largest, close = largest_difference({"": np.array([1.0, np.nan, 2.5], dtype=np.float32)}, wanted)
    assert largest == pytest.approx(0.5)
    assert not close
    assert largest_difference({"": np.zeros(2, dtype=np.float32)}, wanted) == (float("inf"), False)
    assert largest_difference({}, wanted)[1] is False
    assert largest_difference({"": np.array([1.0, 1.0, 2.0])}, wanted)[1] is False
