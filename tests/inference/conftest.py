"""Runs with a captured model and snapshots of its weights."""

import zlib

import pytest
import torch

from explorer import Recorder
from explorer.storage.disk import Disk
from explorer.storage.snapshots import SnapshotTensor, snapshot_path, write_snapshot


def put_snapshot(run_dir, step, state):
    """A snapshot of a state dict, tied tensors once."""
    rows, seen = [], set()
    for name, tensor in state.items():
        if tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        data = memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
        dtype = str(tensor.dtype).removeprefix("torch.")
        role = "param" if tensor.is_floating_point() else "buffer"
        rows.append(SnapshotTensor(name, role, dtype, tuple(tensor.shape), data, None, zlib.crc32(data)))
    write_snapshot(snapshot_path(run_dir, step, 1, 0), step, rows, attempt=1, rank=0, disk=Disk(), sync=False)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """`recorded(model, *inputs)` is a run with the model's program, and its weights at step 0."""

    def record(model, *inputs, **options):
        root = tmp_path_factory.mktemp("runs")
        with Recorder("t", root=root, quiet=True, system_every_s=None) as rec:
            rec.log({"loss": 1.0}, step=0)
            rec.program(model, *inputs, **options)
        put_snapshot(rec.path, 0, model.state_dict())
        return rec.path

    return record
