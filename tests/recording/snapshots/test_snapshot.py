"""One snapshot: what is on disk is what the model was, whatever the training does meanwhile."""

import copy
import os
import pickle
import warnings

import pytest
import torch
from torch import nn

from explorer.errors import RecorderWarning, UsageError
from explorer.storage.snapshot_files import open_snapshot_file


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def all_bits(model):
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: bits(tensor) for name, tensor in named}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 3))


def train(model, optimizer, steps, each=lambda step: None):
    """Losses of some steps, as exact text."""
    random = torch.Generator().manual_seed(1)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 6, generator=random)).pow(2).mean() + model[0].weight.norm()
        loss.backward()
        optimizer.step()
        losses.append(loss.item().hex())
        each(step)
    return losses


def test_the_default_device_of_torch_changes_no_snapshot(record, tensors_of):
    rec, model = record(), network()
    optimizer = torch.optim.AdamW(model.parameters())
    train(model, optimizer, 1)
    torch.set_default_device("meta")  # stands for an accelerator: memory made there could not be read
    try:
        assert rec.snapshot(model, 0, optimizer=optimizer)
        rec.close()
    finally:
        torch.set_default_device(None)
    found = tensors_of(rec.path)[0]
    assert {name: found[name] for name in all_bits(model)} == all_bits(model)
    assert rec._notices.messages == []


def test_each_snapshot_holds_the_parameters_of_its_own_step(record, tensors_of):
    rec, model, truth = record(), network(), {}

    def save(step):
        truth[step] = all_bits(model)
        assert rec.snapshot(model, step)

    train(model, torch.optim.AdamW(model.parameters()), 20, save)
    rec.close()
    assert tensors_of(rec.path) == truth


ODD_DTYPES = [
    torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.int64,
    torch.uint8, torch.uint16, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip


def test_every_type_is_saved_bit_for_bit_with_its_name_and_shape(record, snapshot_files):
    model = nn.Module()
    for dtype in ODD_DTYPES:
        for shape in [(), (0, 3), (4, 5)]:
            raw = torch.randint(0, 2, (torch.Size(shape).numel() * dtype.itemsize,), dtype=torch.uint8)
            name = f"{dtype} {len(shape)}".replace(".", " ")
            model.register_buffer(name, raw.view(dtype).reshape(shape))
    rec = record()
    assert rec.snapshot(model, 7)
    rec.close()
    meta, values = snapshot_files(rec.path)[7]
    assert meta["step"] == 7
    assert meta["index"].keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        entry = meta["index"][name]
        assert values.get(name, b"") == bits(tensor)
        assert (entry["role"], entry["dtype"], tuple(entry["shape"])) == ("buffer", str(tensor.dtype)[6:], tensor.shape)


def test_bfloat16_stores_what_torch_would_round_to(record, snapshot_files):
    rec, model = record(), network()
    rec.snapshot(model, 0, dtype="bfloat16")
    rec.close()
    meta, values = snapshot_files(rec.path)[0]
    assert meta["index"]["0.weight"]["dtype"] == "bfloat16"
    assert values["0.weight"] == bits(model[0].weight.bfloat16())
    assert values["1.num_batches_tracked"] == bits(model[1].num_batches_tracked)


def test_the_state_of_the_optimizer_is_saved_when_asked_for(record, snapshot_files):
    rec, model = record(), network()
    optimizer = torch.optim.AdamW(model.parameters())
    train(model, optimizer, 2)
    rec.snapshot(model, 1)
    rec.snapshot(model, 2, optimizer=optimizer)
    rec.close()
    files = snapshot_files(rec.path)
    assert "optimizer" not in {entry["role"] for entry in files[1][0]["index"].values()}
    assert files[2][0]["index"]["0.weight.exp_avg"]["role"] == "optimizer"
    assert files[2][1]["0.weight.exp_avg"] == bits(optimizer.state[model[0].weight]["exp_avg"])


@pytest.mark.parametrize("optimizer_class", [torch.optim.SGD, torch.optim.AdamW])
def test_the_training_is_bit_identical_with_and_without(record, optimizer_class):
    plain = network()
    expected = train(plain, optimizer_class(plain.parameters(), lr=0.01), 50)
    rec, model = record(), network()
    optimizer = optimizer_class(model.parameters(), lr=0.01)
    automatic = rec.snapshots(model, every=3, log_spaced=True, keep_last=2, optimizer=optimizer)
    losses = train(model, optimizer, 50, lambda step: (automatic.step(step), rec.snapshot(model, 10**6 + step)))
    rec.close()
    assert losses == expected
    assert all_bits(model) == all_bits(plain)


def test_the_step_is_that_of_the_newest_row_unless_it_is_given(record, snapshot_files):
    rec, model = record(), network()
    assert rec.snapshot(model)
    rec.log({"loss": 1.0}, step=41)
    assert rec.snapshot(model)
    rec.close()
    assert list(snapshot_files(rec.path)) == [0, 41]


def test_a_second_snapshot_of_a_step_is_said_and_not_taken(record, tensors_of, summary_of):
    rec, model = record(), network()
    before = all_bits(model)
    assert rec.snapshot(model, 5)
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.warns(RecorderWarning, match="step 5 was not taken: there is one of this step already"):
        assert not rec.snapshot(model, 5)
    rec.close()
    assert tensors_of(rec.path) == {5: before}
    assert summary_of(rec)["snapshots"]["skipped"] == 1


def test_what_cannot_be_saved_is_said_once_and_the_rest_is_saved(record, snapshot_files):
    rec, model = record(), network()
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    with pytest.warns(RecorderWarning, match=r"snapshots leave out 'sparse': it is sparse"):
        assert rec.snapshot(model, 0)
    assert rec.snapshot(model, 1)  # where a second warning would be an error
    rec.close()
    assert snapshot_files(rec.path)[1][0]["index"].keys() == network().state_dict().keys()


def test_a_model_that_is_too_large_to_copy_is_refused_with_what_to_do(record, summary_of):
    rec = record()
    with pytest.warns(RecorderWarning, match=r"more than max_copy_bytes=100\. Save it as a \.safetensors file"):
        assert not rec.snapshot(network(), 0, max_copy_bytes=100)
    rec.close()
    assert summary_of(rec)["snapshots"]["skipped"] == 1
    assert not (rec.path / "params").exists()


def test_a_reference_says_which_file_holds_the_parameters(record, snapshot_files, tmp_path):
    torch_files = pytest.importorskip("safetensors.torch")
    model, rec = network(), record()
    torch_files.save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert rec.snapshot(model, 3, reference=tmp_path / "model.safetensors", max_copy_bytes=1)
    rec.close()
    meta, values = snapshot_files(rec.path)[3]
    assert values == {}
    assert meta["reference"]["path"] == str(tmp_path / "model.safetensors")
    assert meta["reference"]["size"] == (tmp_path / "model.safetensors").stat().st_size


@pytest.mark.parametrize("content", [None, b"not at all"])
def test_a_reference_that_is_no_safetensors_file_is_said_and_counted(record, summary_of, tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    rec = record()
    assert rec.snapshot(network(), 3, reference=str(path))
    with warnings.catch_warnings(record=True):
        rec.close()
    assert any("step 3 is not recorded: its reference cannot be used" in each for each in rec._notices.messages)
    assert summary_of(rec)["snapshots"]["lost"] == 1


WRONG = [
    ({"model": [1]}, "model should be a torch.nn.Module; found list"),
    ({"step": -1}, "step of a snapshot should be from 0 to 999,999,999,999; found -1"),
    ({"step": 10**12}, "step of a snapshot should be from 0"),
    ({"step": "1"}, "step should be an integer"),
    ({"optimizer": "adam"}, "optimizer should be a torch.optim.Optimizer or None; found str"),
    ({"dtype": "float16"}, "dtype should be None, for the values as they are, or \"bfloat16\"; found 'float16'"),
    ({"reference": "model.pt"}, "reference should be the path of a .safetensors file; found 'model.pt'"),
    ({"reference": 3}, "reference should be the path"),
    ({"max_copy_bytes": 0}, "max_copy_bytes should be a positive whole number; found 0"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_a_wrong_argument_is_refused_at_once(record, arguments, message):
    rec = record()
    with pytest.raises(UsageError, match=message):
        rec.snapshot(**{"model": network(), "step": 0} | arguments)


def test_a_recorder_that_is_off_takes_none(record):
    rec = record(enabled=False)
    assert rec.snapshot(network(), 0) is False
    assert rec.snapshots(network(), every=1).step(0) is False


def test_after_close_it_is_said_and_nothing_is_taken(record):
    rec = record()
    automatic = rec.snapshots(network(), every=1)
    rec.close()
    with pytest.warns(RecorderWarning, match=r"snapshot\(\) was called after close\(\)"):
        assert not rec.snapshot(network(), 0)
    assert automatic.step(1) is False
    assert not (rec.path / "params").exists()


def test_rank_zero_alone_saves_unless_every_rank_shall(record):
    rec = record(rank=1, run_id="ranks")
    assert not rec.snapshot(network(), 0)
    assert not rec.snapshots(network(), every=1).step(0)
    assert rec.snapshot(network(), 1, every_rank=True)
    rec.close()
    assert [path.name for path in rec.path.glob("params/*/*")] == ["0001-00001.parquet"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_takes_none_and_disturbs_none_of_its_parent(record, tensors_of):
    rec, model = record(), network()
    automatic = rec.snapshots(model, every=1)
    automatic.step(0)
    child = os.fork()
    if child == 0:
        failed = rec.snapshot(model, 1) or automatic.step(2)
        rec.close()
        os._exit(int(failed))
    assert os.waitpid(child, 0)[1] == 0
    automatic.step(3)
    rec.close()
    assert list(tensors_of(rec.path)) == [0, 3]


def test_a_copy_of_what_holds_them_takes_snapshots_of_the_same_run(record):
    rec = record()
    automatic = rec.snapshots(network(), every=1)
    assert copy.deepcopy({"callbacks": [automatic]})["callbacks"][0] is automatic
    assert not pickle.loads(pickle.dumps(rec)).snapshot(network(), 0)


def test_the_time_it_takes_counts_as_overhead(record):
    rec, model = record(), nn.Linear(1_000, 1_000)
    rec.snapshot(model, 0)
    assert rec.overhead["sampling_s"] > 0


def test_unchanged_tensors_are_not_written_again(record, snapshot_files, tensors_of, written):
    rec = record()
    model = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    truth = {}
    for step in range(4):
        with torch.no_grad():
            model[1].weight += 1
        truth[step] = all_bits(model)
        rec.snapshot(model, step)
    written(rec)
    with torch.no_grad():
        model[0].weight += 1  # from now on another one is the newest
    for step in range(4, 6):
        truth[step] = all_bits(model)
        rec.snapshot(model, step)
    rec.close()
    assert tensors_of(rec.path) == truth
    files = snapshot_files(rec.path)
    sources = [files[step][0]["index"]["0.weight"].get("stored_step") for step in range(6)]
    assert sources == [None, 0, 0, 0, None, 4]
    assert [files[step][0]["index"]["1.weight"].get("stored_step") for step in range(6)] == [None] * 4 + [3, 3]


def test_a_tied_tensor_is_written_once_and_read_by_both_names(record, snapshot_files, tensors_of):
    rec, model = record(), nn.Sequential(nn.Embedding(50, 30), nn.Linear(30, 50))
    model[1].weight = model[0].weight
    rec.snapshot(model, 0)
    rec.snapshot(model, 1)
    rec.close()
    _, values = snapshot_files(rec.path)[0]
    assert values.keys() == {"0.weight", "1.bias"}
    truth = {name: bits(tensor) for name, tensor in model.state_dict().items()}
    assert tensors_of(rec.path) == {0: truth, 1: truth}
    for step in (0, 1):
        with open_snapshot_file(rec.path / "params" / f"{step:012d}" / "0001-00000.parquet") as file:
            assert file.entries["1.weight"].tied_to == "0.weight"
            assert file.entries["1.weight"].stored_step == file.entries["0.weight"].stored_step == (0 if step else None)
            file.check()


def test_a_weight_that_is_tied_from_now_on_is_written_under_both_names(record, tensors_of):
    rec, model = record(), nn.Sequential(nn.Embedding(50, 30), nn.Linear(30, 50))
    rec.snapshot(model, 0)
    model[1].weight = model[0].weight
    rec.snapshot(model, 1)
    rec.close()
    assert tensors_of(rec.path)[1] == {name: bits(tensor) for name, tensor in model.state_dict().items()}


def test_bytes_that_somebody_has_deleted_are_written_again(record, tensors_of, written):
    rec, model = record(), nn.Linear(50, 50)
    rec.snapshot(model, 0)
    written(rec)
    next((rec.path / "params" / f"{0:012d}").iterdir()).unlink()
    rec.snapshot(model, 1)
    rec.close()
    assert tensors_of(rec.path) == {1: all_bits(model)}


def test_a_resumed_run_starts_with_whole_snapshots(record, snapshot_files):
    model = nn.Linear(50, 50)
    for _ in range(2):
        rec = record(run_id="again", resume="allow")
        rec.snapshot(model, 0)
        rec.close()
    meta, values = snapshot_files(rec.path, "0002-00000.parquet")[0]
    assert meta["index"]["weight"].get("stored_step") is None
    assert values["weight"] == bits(model.weight)


def test_other_accelerators_copy_on_the_device_and_the_writer_brings_it_over(record, tensors_of, monkeypatch):
    monkeypatch.setattr("explorer.recording.snapshots.host_buffers.DIRECT", ("cuda",))
    rec, model = record(), network()
    truth = all_bits(model)
    assert rec.snapshot(model, 0)
    with torch.no_grad():
        model[0].weight.zero_()
    rec.close()
    assert tensors_of(rec.path) == {0: truth}
