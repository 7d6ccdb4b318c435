"""Dead and saturated units, in main memory and as an accelerator counts them."""

import numpy as np
import pytest
import torch
from torch import nn

from explorer.recording.watching.bench import HostBench
from explorer.recording.watching.device import DeviceBench
from explorer.recording.watching.units import Layouts, criterion_of, joined_units


@pytest.fixture(params=["host", "device"])
def count(request):
    def run(module, *outputs, axis=None):
        bench = HostBench() if request.param == "host" else DeviceBench(torch.device("cpu"))
        parts = []
        for output in outputs:
            found = Layouts().axis(module, output.shape) if axis is None else axis
            parts.append(bench.count_units(output, found, criterion_of(module)))
        if request.param == "device":
            bench.ship().arrive()
        return joined_units([part() for part in parts])

    return run


def test_a_unit_that_answers_fewer_than_one_example_in_a_hundred_is_dead(count):
    output = torch.zeros(1000, 4)
    output[:9, 1] = 1.0
    output[:10, 2] = 1.0
    output[:, 3] = -1.0
    assert count(nn.ReLU(), output) == {"units": 4, "dead_units": 2}


def test_a_bias_of_minus_twenty_kills_every_unit(count):
    layer = nn.Linear(10, 50)
    nn.init.constant_(layer.bias, -20.0)
    output = torch.relu(layer(torch.randn(200, 10))).detach()
    assert count(nn.ReLU(), output) == {"units": 50, "dead_units": 50}


def test_a_channel_counts_an_example_wherever_it_is_active_in_it(count):
    output = torch.zeros(50, 3, 8, 8)
    output[:, 0, 7, 7] = 1.0
    output[:, 1] = 1.0
    expected = {"units": 3, "dead_units": 1}
    assert count(nn.ReLU(), output) == expected
    assert count(nn.ReLU(), output.to(memory_format=torch.channels_last)) == expected
    assert count(nn.ReLU(), output.flatten(2), axis=1) == expected
    assert count(nn.ReLU(), output.flatten(2).transpose(1, 2), axis=2) == expected


def test_smooth_functions_only_come_near_zero(count):
    pre = torch.full((100, 3), -12.0)
    pre[:, 1] = 1.0
    assert count(nn.GELU(), nn.functional.gelu(pre))["dead_units"] == 2
    assert count(nn.SiLU(), nn.functional.silu(pre))["dead_units"] == 2
    assert count(nn.ReLU(), torch.full((100, 3), 1e-6))["dead_units"] == 0


def test_a_unit_is_saturated_when_most_of_its_values_are(count):
    output = torch.zeros(100, 4)
    output[:50, 1] = 0.98
    output[:51, 2] = 0.98
    output[:51, 3] = -0.98
    assert count(nn.Tanh(), output)["saturated_units"] == 2
    sigmoid = torch.full((100, 3), 0.5)
    sigmoid[:60, 0], sigmoid[:60, 1] = 0.02, 0.98
    assert count(nn.Sigmoid(), sigmoid)["saturated_units"] == 2
    assert "saturated_units" not in count(nn.ReLU(), sigmoid)


def test_batches_of_one_step_count_together(count):
    first, second = torch.zeros(100, 2), torch.zeros(100, 2)
    second[:, 1] = 1.0
    assert count(nn.ReLU(), first, second) == {"units": 2, "dead_units": 1}
    assert count(nn.ReLU(), first, torch.zeros(10, 3)) == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_large_outputs_of_other_types_are_counted_in_pieces(count, dtype):
    torch.manual_seed(0)
    output = torch.relu(torch.randn(300, 7, 200)).to(dtype)
    output[:, :, :5] = 0
    active = (output.double().numpy() != 0).any(axis=1).sum(axis=0)
    assert count(nn.ReLU(), output) == {"units": 200, "dead_units": int((active < 3).sum())}
    assert np.count_nonzero(active == 0) == 5


def test_where_the_units_are():
    layouts = Layouts()
    assert layouts.axis(nn.Conv1d(3, 4, 1), torch.Size([2, 4, 9])) == 1
    assert layouts.axis(nn.ReLU(), torch.Size([2, 4, 9])) == 1  # as the convolution before it
    assert layouts.axis(nn.ReLU(), torch.Size([2, 5, 9])) == 2
    assert layouts.axis(nn.AvgPool1d(2), torch.Size([2, 6, 9])) == 1
    assert layouts.axis(nn.Linear(4, 9), torch.Size([2, 3, 3, 9])) == 3
    assert layouts.axis(nn.GELU(), torch.Size([2, 3, 3, 9])) == 3
    assert layouts.axis(nn.ReLU(), torch.Size([2, 7, 5, 5])) == 1
    assert layouts.axis(nn.ReLU(), torch.Size([2, 7])) == 1
    assert layouts.axis(nn.ReLU(), torch.Size([7])) is None
    assert layouts.axis(nn.ReLU(), torch.Size([])) is None
