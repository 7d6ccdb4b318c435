"""A model of which no process has all, or whose forward waits for others, is refused instead of hanging a training."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import explorer
from explorer.recording.program.capture import capture
from explorer.recording.program.checking import Check
from explorer.recording.program.cloning import Sharded, stand_in
from explorer.recording.program.exporting import export
from explorer.recording.program.staging import stage
from explorer.recording.program.unnoticed import TalksToOthers, alone
from tests.program_models import GPT, make

pytestmark = pytest.mark.filterwarnings("ignore")

# Rank 0 captures models that talk to rank 1, which does not answer: it waits in a barrier.
TALKS = """
import sys, torch, torch.distributed as distributed
from torch import nn
from explorer.recording.program.capture import capture
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)

class Talks(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(4, 4), how

    def forward(self, x):
        y = self.layer(x)
        if self.how == "reduce":
            distributed.all_reduce(y)
        elif self.how == "gather":
            parts = [torch.zeros_like(y) for _ in range(2)]
            distributed.all_gather(parts, y)
            y = torch.cat(parts)
        elif self.how == "barrier":
            distributed.barrier()
        return y

if rank == 0:
    for how in ("reduce", "gather", "barrier"):
        found = capture(Talks(how), (torch.randn(3, 4),), {})
        assert found.document is None, how
        assert "other processes" in found.why[-1][1], found.why
distributed.barrier()
distributed.destroy_process_group()
"""


def test_a_forward_that_waits_for_other_processes_ends_in_a_reason(tmp_path):
    script = tmp_path / "talks.py"
    script.write_text(textwrap.dedent(TALKS))
    command = [sys.executable, "-W", "ignore", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(explorer.__file__).parents[1])}
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "rendezvous")], stderr=subprocess.PIPE, env=environment)
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=120)[1].decode() for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], errors


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_collectives_are_refused_and_everything_else_runs(group, monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    with alone():
        assert torch.ones(2).add(1).tolist() == [2, 2]
        with pytest.raises(TalksToOthers, match="c10d"):
            torch.distributed.all_reduce(torch.ones(2))


def test_a_sharded_model_is_refused_with_advice(group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    found = capture(model, (torch.ones(2, 4),), {})
    assert found.document is None
    assert "before the model is sharded" in found.why[0][1]


def test_a_wrapper_that_shards_is_refused_by_its_name():
    class FullyShardedDataParallel(nn.Module):
        pass

    with pytest.raises(Sharded, match="FullyShardedDataParallel"):
        stand_in(nn.Sequential(FullyShardedDataParallel()))


def test_the_state_of_an_optimizer_that_a_model_holds_is_not_copied():
    model = nn.Linear(4, 4)
    model.optimizer = torch.optim.Adam(model.parameters())
    assert stand_in(model).optimizer is model.optimizer


class OnAnAccelerator(Check):
    """As if the model were on one: this machine need not have it."""

    def pretend(self):
        self._device = torch.device("cuda")
        return self


def check_of(name_or_model, args=None):
    model, args = (make(name_or_model)[0], make(name_or_model)[1][0]) if args is None else (name_or_model, args)
    staged, plain_args, plain_kwargs = stage(model, args, {})
    document, constants = next(iter(export(staged, plain_args, plain_kwargs)))
    document["route"], document["format"] = "export", 1
    return OnAnAccelerator(document, constants, staged, plain_args, plain_kwargs), document


def test_sizes_of_a_model_on_an_accelerator_are_tried_on_the_cpu():
    """There an index that is out of range, as beyond a table of places, would end the training's use of the device."""
    check, document = check_of(GPT(), (torch.randint(0, 30, (4, 32)),))  # as long as the table of places
    longest = []
    copied = check.pretend().on_cpu()
    assert copied is not check
    copied._staged.model.places.register_forward_pre_hook(lambda _, given: longest.append(given[0].shape[-1]))
    copied.settle_sizes(document)
    assert document["symbols"]
    assert longest
    assert max(longest) <= 32


def test_a_model_that_is_too_large_for_a_copy_keeps_the_sizes_that_export_gives(monkeypatch):
    monkeypatch.setattr("explorer.recording.program.checking.MAX_COPY_BYTES", 1)
    check, _ = check_of("mlp")
    assert check.pretend().on_cpu() is None
