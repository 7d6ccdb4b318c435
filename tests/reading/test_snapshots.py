"""Snapshots as a user reads them: values as torch has them, over steps, attempts and ranks, whatever is damaged."""

import os
import zlib

import numpy as np
import pytest
import torch

from explorer.errors import DamagedFile, SnapshotNotFound, TensorNotFound, UnsupportedFormat, UsageError
from explorer.reading.snapshots import list_snapshots, open_snapshot, read_tensor_over_steps, write_safetensors
from explorer.storage.disk import Disk
from explorer.storage.snapshot_files import ITEM_BYTES
from explorer.storage.snapshots import SnapshotTensor, drop_snapshot, snapshot_path, write_snapshot


def stored(name, value, role="param", step=None):
    """A torch tensor as the recorder stores it."""
    raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    view = None if step is not None else memoryview(raw)
    dtype = str(value.dtype).removeprefix("torch.")
    return SnapshotTensor(name, role, dtype, tuple(value.shape), view, step, zlib.crc32(raw))


@pytest.fixture
def save(run):
    def save(step, tensors, attempt=1, rank=0, **options):
        path = snapshot_path(run.path, step, attempt, rank)
        write_snapshot(path, step, tensors, attempt=attempt, rank=rank, disk=Disk(), sync=False, **options)
        return path

    return save


@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3))


def tensors_of(model):
    parameters = [stored(name, value) for name, value in model.named_parameters()]
    return parameters + [stored(name, value, "buffer") for name, value in model.named_buffers()]


def test_a_model_is_read_as_torch_has_it(save, run, model):
    save(10, tensors_of(model))
    snapshot = open_snapshot(run.path, 10)
    assert list(snapshot.entries) == [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    for name, value in model.state_dict().items():
        assert np.array_equal(snapshot.read(name), value.numpy())
        entry = snapshot.entries[name]
        assert (entry.shape, entry.num_bytes) == (tuple(value.shape), value.nbytes)
        assert f"torch.{entry.dtype}" == str(value.dtype)
    assert snapshot.entries["1.running_mean"].role == "buffer"
    many = snapshot.read_many(["0.weight", "2.bias"])
    assert list(many) == ["0.weight", "2.bias"]


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
def test_every_bit_pattern_of_every_dtype_is_read_as_torch_reads_it(save, run, dtype):
    kind = getattr(torch, dtype)
    num_patterns = 256 if ITEM_BYTES[dtype] == 1 else 2**16
    chance = np.random.default_rng(0)
    raw = np.arange(num_patterns, dtype=np.uint8 if num_patterns == 256 else np.uint16).view(np.uint8)
    if ITEM_BYTES[dtype] > 2:
        raw = chance.integers(0, 256, 4_096, np.uint8)
    if dtype == "bool":
        raw = raw & 1
    value = torch.from_numpy(raw.copy()).view(kind)
    save(1, [stored("x", value)])
    snapshot = open_snapshot(run.path, 1)
    assert np.array_equal(snapshot.read_bytes("x"), raw)
    found = snapshot.read("x")
    if dtype == "complex32":
        parts = value.view(torch.float16).float().numpy()
        assert np.array_equal(found.view(np.float32), parts, equal_nan=True)
        return
    wide = value.float() if dtype.startswith(("float8", "bfloat16", "float16")) else value
    expected = wide.numpy()
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected, equal_nan=expected.dtype.kind in "fc")
    if dtype.startswith(("float8", "float16", "bfloat16")):
        assert np.array_equal(np.signbit(found), np.signbit(expected)) or np.isnan(expected).any()


def test_shapes_of_scalars_and_of_nothing_survive(save, run):
    save(1, [stored("scalar", torch.tensor(3.0)), stored("empty", torch.empty(0, 4)), stored("one", torch.ones(1, 1))])
    snapshot = open_snapshot(run.path, 1)
    assert [snapshot.read(name).shape for name in snapshot.entries] == [(), (0, 4), (1, 1)]


def test_an_unchanged_tensor_is_read_from_where_its_bytes_are(save, run):
    frozen, trained = torch.arange(5.0), torch.ones(3)
    save(10, [stored("frozen", frozen), stored("trained", trained)])
    save(20, [stored("frozen", frozen, step=10), stored("trained", trained * 2)])
    drop_snapshot(run.path, 10, 1, 0, disk=Disk())
    assert [info.step for info in list_snapshots(run.path)] == [20]
    snapshot = open_snapshot(run.path, 20)
    assert snapshot.entries["frozen"].stored_step == 10
    assert snapshot.read("frozen").tolist() == frozen.tolist()
    assert list(snapshot.read_many(["trained", "frozen"])) == ["trained", "frozen"]


def test_a_source_that_is_gone_or_has_other_bytes_is_named_and_never_shown(save, run):
    frozen = torch.arange(5.0)
    source = save(10, [stored("frozen", frozen)])
    save(20, [stored("frozen", frozen, step=10), stored("trained", frozen)])
    save(10, [stored("frozen", frozen + 1)])
    with pytest.raises(DamagedFile, match="other values of 'frozen'"):
        open_snapshot(run.path, 20).read("frozen")
    save(10, [stored("another", frozen)])
    with pytest.raises(DamagedFile, match="step 10"):
        open_snapshot(run.path, 20).read("frozen")
    source.unlink()
    with pytest.raises(DamagedFile, match="step 10"):
        open_snapshot(run.path, 20).read("frozen")
    assert open_snapshot(run.path, 20).read("trained").tolist() == frozen.tolist()


def test_a_reference_never_leads_to_another_reference(save, run):
    frozen = torch.arange(5.0)
    save(10, [stored("a", frozen)])
    save(20, [stored("a", frozen, step=10)])
    save(30, [stored("a", frozen, step=20)])
    with pytest.raises(DamagedFile, match="step 20"):
        open_snapshot(run.path, 30).read("a")


def test_of_a_step_the_newest_attempt_counts_with_all_its_ranks(save, run):
    for attempt, rank, value in [(1, 0, 1.0), (1, 1, 2.0), (2, 1, 3.0), (2, 3, 4.0)]:
        save(5, [stored("x", torch.tensor(value))], attempt, rank)
    save(6, [stored("x", torch.tensor(9.0))], 1, 0)
    found = [(info.step, info.attempt, info.rank) for info in list_snapshots(run.path)]
    assert found == [(5, 2, 1), (5, 2, 3), (6, 1, 0)]
    assert open_snapshot(run.path, 5).read("x") == 3.0
    assert open_snapshot(run.path, 5, rank=3).read("x") == 4.0
    with pytest.raises(SnapshotNotFound, match="of rank 0 at step 5"):
        open_snapshot(run.path, 5, rank=0)


def test_the_list_tells_sizes_and_counts(save, run, model):
    path = save(10, tensors_of(model))
    (info,) = list_snapshots(run.path)
    assert (info.num_tensors, info.size_bytes) == (len(tensors_of(model)), path.stat().st_size)
    assert (info.has_reference, info.problem) == (False, None)


def test_a_damaged_snapshot_is_listed_with_the_reason_and_costs_only_itself(save, run):
    save(10, [stored("x", torch.ones(3))])
    bad = save(20, [stored("x", torch.ones(3) * 2)])
    bad.write_bytes(bad.read_bytes()[:-30])
    assert [info.problem is None for info in list_snapshots(run.path)] == [True, False]
    with pytest.raises(DamagedFile):
        open_snapshot(run.path, 20)
    steps, arrays = read_tensor_over_steps(run.path, "x")
    assert (steps.tolist(), arrays[0].tolist()) == ([10], [1, 1, 1])


def test_a_newer_format_is_refused_with_what_to_do(save, run, monkeypatch):
    monkeypatch.setattr("explorer.storage.snapshots.FORMAT_VERSION", 9)
    save(10, [stored("x", torch.ones(3))])
    assert "Upgrade" in list_snapshots(run.path)[0].problem
    with pytest.raises(UnsupportedFormat):
        open_snapshot(run.path, 10)


def test_what_is_not_there_is_said_with_what_is(save, run):
    with pytest.raises(SnapshotNotFound, match="it has none"):
        open_snapshot(run.path, 3)
    for step in (10, 20, 1_000):
        save(step, [stored("layers.0.weight", torch.ones(1))])
    with pytest.raises(SnapshotNotFound, match=r"nearest are 10, 20, 1,000"):
        open_snapshot(run.path, 15)
    with pytest.raises(TensorNotFound, match=r"no tensor 'weight'; it has 'layers.0.weight'"):
        open_snapshot(run.path, 10).read("weight")
    with pytest.raises(TensorNotFound, match="no snapshot"):
        read_tensor_over_steps(run.path, "weight")
    assert list_snapshots(run.path / "nowhere") == []


def test_one_tensor_over_all_steps_shares_what_did_not_change(save, run):
    frozen = torch.arange(4.0)
    save(0, [stored("w", frozen)])
    save(5, [stored("w", frozen, step=0)])
    save(7, [stored("other", frozen)])
    save(9, [stored("w", frozen * 3)], rank=1)
    save(9, [stored("w", frozen * 2)])
    steps, arrays = read_tensor_over_steps(run.path, "w")
    assert steps.tolist() == [0, 5, 9]
    assert [array.tolist() for array in arrays] == [frozen.tolist(), frozen.tolist(), (frozen * 2).tolist()]
    assert arrays[0] is arrays[1]
    assert read_tensor_over_steps(run.path, "w", rank=1)[1][0].tolist() == (frozen * 3).tolist()


def test_a_snapshot_becomes_a_file_that_safetensors_loads(save, run, model, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    extra = [
        stored("half", torch.randn(3, 4).bfloat16()),
        stored("tiny", torch.randn(9).to(torch.float8_e4m3fn)),
        stored("odd", torch.zeros(2).to(torch.float8_e4m3fnuz)),
        stored("momentum", torch.ones(2), "optimizer"),
    ]
    save(10, tensors_of(model) + extra)
    target = tmp_path / "model.safetensors"
    target.write_text("an older one")
    assert write_safetensors(open_snapshot(run.path, 10), target) == ("odd",)
    loaded = safetensors.load_file(target)
    assert set(loaded) == {*model.state_dict(), "half", "tiny"}
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value)
    assert loaded["half"].dtype == torch.bfloat16
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_a_reference_is_shown_but_never_opened(save, run, tmp_path):
    outside = tmp_path / "secret"
    os.mkfifo(outside)  # whoever opens it waits for ever
    save(10, [], reference={"path": str(outside), "size": 1, "mtime_ns": 1, "header_sha256": "0"})
    (info,) = list_snapshots(run.path)
    assert (info.has_reference, info.num_tensors) == (True, 0)
    snapshot = open_snapshot(run.path, 10)
    assert snapshot.reference["path"] == str(outside)
    with pytest.raises(UsageError, match="are in"):
        write_safetensors(snapshot, tmp_path / "x.safetensors")
