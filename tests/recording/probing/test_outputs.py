"""What a probe keeps of a model's layers, and that it leaves no trace in the training."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from explorer.recording.probing import outputs as probing
from explorer.recording.probing.outputs import choose_layers, run_probe, sample, tensors_of, unwrap


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return torch.relu(self.linear(x))


class Net(nn.Module):
    """A body of blocks, a layer that runs twice, dropout, batch norm, and a branch that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm = nn.BatchNorm1d(8)
        self.twice = nn.Tanh()
        self.dropout = nn.Dropout(0.5)
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for block in self.blocks:
            x = self.twice(self.norm(block(x)))
        return self.head(self.dropout(x))


def probe(model, batch, patterns=("*",)):
    return run_probe(model, batch, choose_layers(model, list(patterns)))


def test_what_is_kept_is_what_the_layers_put_out_in_evaluation_mode():
    model, batch = Net(), torch.randn(5, 8)
    kept = probe(model, batch).kept
    model.eval()
    with torch.no_grad():
        first = model.blocks[0](batch)
        assert torch.equal(kept["blocks.0"], first)
        assert torch.equal(kept["head"], model(batch))
        assert torch.equal(kept["twice"], torch.tanh(model.norm(first)))
    assert "twice:1" in kept
    assert "dropout" not in kept


def test_a_layer_that_did_not_run_is_named():
    assert probe(Net(), torch.randn(5, 8)).skipped == {"unused": "did not run"}


def test_mode_gradients_buffers_and_random_numbers_are_as_before():
    model, batch = Net(), torch.randn(5, 8)
    model.train()
    model.norm.eval()  # frozen on purpose
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    probe(model, batch)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_that_draws_random_numbers_leaves_them_as_they_were():
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            np.random.rand()
            return self.layer(x + torch.randn_like(x) * random.random())

    model = Noisy()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    probe(model, torch.zeros(2, 8))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()


def test_an_error_of_the_model_leaves_no_hook_and_no_mode_behind():
    model = Net().train()
    with pytest.raises(RuntimeError):
        probe(model, torch.randn(5, 9))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_copy_is_kept_so_that_an_operation_in_place_afterwards_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
    batch = torch.randn(3, 4)
    kept = probe(model, batch).kept
    with torch.no_grad():
        assert torch.equal(kept["0"], model[0](batch))
    assert (kept["0"] < 0).any()


def test_large_outputs_are_sampled_and_few_examples_are_kept():
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Flatten(), nn.Linear(16 * 32 * 32, 4))
    kept = probe(model, torch.randn(300, 1, 32, 32)).kept
    assert kept["0"].shape[0] == kept["2"].shape[0] == 256
    assert kept["0"].shape[1] <= 4_096
    assert kept["2"].shape == (256, 4)


def test_the_sample_does_not_walk_down_one_column_of_an_image():
    images = torch.arange(64.0).repeat(64, 1).reshape(1, 1, 64, 64)  # each value is its column
    assert len(sample(images, 64).unique()) > 16


def test_many_layers_share_the_room(monkeypatch):
    monkeypatch.setattr(probing, "MAX_BYTES", 4 * 10 * 4 * 25)
    model = nn.Sequential(*(nn.Linear(100, 100) for _ in range(10)))
    kept = probe(model, torch.randn(4, 100)).kept
    assert len(kept) == 10
    assert all(value.shape == (4, 25) for value in kept.values())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.LSTM(8, 8), "whose first size is not that of the batch"),
        (nn.Embedding(8, 8), None),
    ],
)
def test_outputs_that_are_no_examples_by_features_are_named(layer, reason):
    model = nn.Sequential()
    model.add_module("layer", layer)
    batch = torch.zeros(5, 3, 8) if reason else torch.zeros(5, 3, dtype=torch.int64)

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x.transpose(0, 1) if reason else x)

    found = probe(Turned(), batch)
    if reason:
        assert reason in found.skipped["layer"]
    else:
        assert found.kept["layer"].shape == (5, 24)


def test_float64_is_kept_as_float32_and_half_types_as_they_are():
    for dtype, kept in ((torch.float64, torch.float32), (torch.bfloat16, torch.bfloat16)):
        model = nn.Sequential(nn.Linear(4, 4)).to(dtype)
        assert probe(model, torch.randn(3, 4, dtype=dtype)).kept["0"].dtype == kept


def test_patterns_choose_by_name_and_blocks_of_lists_are_layers():
    model = Net()
    assert list(choose_layers(model, ["blocks.*.linear"])) == ["blocks.0.linear", "blocks.1.linear"]
    chosen = list(choose_layers(model, ["*"]))
    assert "blocks.0" in chosen
    assert "dropout" not in chosen


def test_a_layer_with_a_parametrized_weight_and_attention_are_layers():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.ReLU())
    assert list(probe(model, torch.randn(3, 4)).kept) == ["0", "1"]

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    assert list(probe(Attends(), torch.randn(3, 5, 4)).kept) == ["attention"]


def test_batches_are_tensors_tuples_and_mappings():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x, mask):
            return self.layer(x) * mask

    x, mask = torch.randn(3, 2), torch.ones(3, 1)
    model = Pair()
    by_name = probe(model, {"x": x, "mask": mask}).kept["layer"]
    assert torch.equal(by_name, probe(model, (x, mask)).kept["layer"])
    assert [id(one) for one in tensors_of({"b": x, "a": (mask, [x])})] == [id(mask), id(x), id(x)]
    assert tensors_of("text") == []


def test_a_compiled_model_is_run_as_the_plain_one():
    model = Net()
    compiled = torch.compile(model, backend="eager")
    assert unwrap(compiled) is model
    assert unwrap(nn.DataParallel(model)) is model
