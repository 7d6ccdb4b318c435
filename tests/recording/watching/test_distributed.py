"""Data-parallel training over two processes (gloo)."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

from explorer import Every, RecorderWarning
from explorer.storage import layout
from explorer.storage.tensors import open_tensor_segment

SCRIPT = """
import os, sys, torch
import torch.distributed as dist
from torch import nn
from explorer import Recorder, Every
rank, root, store = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.environ.update(RANK=str(rank), WORLD_SIZE="2")
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
parallel = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
torch.manual_seed(rank)
with Recorder("ddp", root=root, run_id="ddp", quiet=True, system_every_s=None) as rec:
    rec.watch(parallel, optimizer, schedule=Every(1))
    for step in range(3):
        optimizer.zero_grad()
        parallel(torch.randn(16, 8)).square().mean().backward()
        truth = nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
        optimizer.step()
        rec.log({"truth": truth}, step=step)
dist.destroy_process_group()
"""


@pytest.mark.filterwarnings("ignore")
def test_ranks_record_averaged_gradients_under_plain_names(tmp_path, rows_of):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(script)]
    places = [str(tmp_path / "logs"), str(tmp_path / "store")]
    processes = [subprocess.Popen([*command, str(rank), *places], env=environment) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    run_dir = tmp_path / "logs" / "ddp"
    by_rank = {}
    for file in layout.list_segments(run_dir, "tensors"):
        with open_tensor_segment(file.path) as segment:
            table = segment.read(["step", "name", "norm", "hash"], kinds=["param", "grad"])
            by_rank[file.name.rank] = sorted(map(str, table.to_pylist()))
    assert by_rank[0] == by_rank[1]
    assert len(by_rank[0]) == 3 * 2 * 4
    assert all("module" not in row for row in by_rank[0])
    metrics = {}
    for _, rank, step, row in rows_of(run_dir):
        metrics.setdefault((rank, step), {}).update(row)
    for row in metrics.values():
        assert row["watch/grad_norm_before_clipping"] == pytest.approx(row["truth"], rel=1e-5)
        assert row["watch/grad_norm"] == pytest.approx(row["truth"], rel=1e-5)
        assert row["watch/clipped"] == 0.0


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_that_statistics_are_of_a_part_is_said_where_parameters_are_spread(record, summary_of, rows_of_kind):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
        fully_shard(model)
        optimizer, recorder = torch.optim.SGD(model.parameters(), lr=0.1), record()
        with pytest.warns(RecorderWarning, match="statistics are those of this process's part of each"):
            recorder.watch(model, optimizer, schedule=Every(1))
        model(torch.ones(2, 8)).sum().backward()
        optimizer.step()
        recorder.close()
    finally:
        dist.destroy_process_group()
    assert len(rows_of_kind(recorder, "param")) == 4
