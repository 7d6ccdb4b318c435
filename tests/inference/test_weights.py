"""Weights from snapshots, safetensors files and checkpoints: names, shapes and dtypes checked, and nothing runs."""

import io
import json
import pickle
import struct
import zipfile

import pytest
import torch

from explorer import Recorder
from explorer.errors import DamagedFile, ProgramError
from explorer.inference.safetensors_file import SafetensorsFile
from explorer.inference.weights import bind, compare_weights
from explorer.reading.runs import open_run
from explorer.reading.snapshots import open_snapshot, write_safetensors
from tests.program_models import GPT


@pytest.fixture(scope="module")
def model():
    return GPT()


@pytest.fixture(scope="module")
def run(recorded, model):
    return recorded(model, torch.randint(0, 30, (2, 6)))


@pytest.fixture(scope="module")
def program(run):
    return open_run(run).program


@pytest.fixture(params=["snapshot", "safetensors", "checkpoint", "tensors"])
def source(request, run, model, tmp_path):
    if request.param == "snapshot":
        return open_snapshot(run, 0)
    if request.param == "safetensors":
        write_safetensors(open_snapshot(run, 0), tmp_path / "w.safetensors")
        return tmp_path / "w.safetensors"
    if request.param == "checkpoint":
        torch.save(model.state_dict(), tmp_path / "w.pt")
        return str(tmp_path / "w.pt")
    return model.state_dict()


def test_every_source_gives_the_same_weights_and_ties_hold(program, model, source):
    bound = bind(program, source)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in bound.items())
    assert {weight.name for weight in program.weights.values() if weight.role != "constant"} == bound.keys()
    assert program.ties == (("tokens.weight", "head.weight"),)
    assert bound["head.weight"] is bound["tokens.weight"]


def test_of_a_snapshot_only_what_is_needed_is_read_and_tied_tensors_once(tmp_path, model, program, monkeypatch):
    with Recorder("tied", root=tmp_path, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=0)
    snapshot = open_snapshot(rec.path, 0)
    read = []

    def note(names):
        read.extend(names)
        return type(snapshot).read_many_bytes(snapshot, names)

    monkeypatch.setattr(snapshot, "read_many_bytes", note)
    bound = bind(program, snapshot)
    assert "tokens.weight" in read
    assert snapshot.entries["head.weight"].tied_to == "tokens.weight"
    assert "head.weight" not in read
    assert len(read) == len(set(read)) == len(bound) - 1


def test_what_is_missing_and_what_is_too_much_is_named(program, model):
    state = dict(model.state_dict())
    state["layer.weight"] = state.pop("places.weight")
    fit = compare_weights(program, state)
    assert (fit.missing, fit.unused, fit.is_complete) == (("places.weight",), ("layer.weight",), False)
    with pytest.raises(ProgramError, match=r"1 are missing \(places\.weight\); 1 others are there \(layer\.weight\)"):
        bind(program, state)


def test_a_wrong_shape_and_a_wrong_kind_of_number_are_named(program, model):
    state = dict(model.state_dict())
    state["places.weight"] = state["places.weight"][:3]
    state["blocks.0.norm.bias"] = state["blocks.0.norm.bias"].long()
    with pytest.raises(
        ProgramError, match=r"places\.weight has the shape \(3, 16\); \(32, 16\) was recorded"
    ) as raised:
        bind(program, state)
    assert "blocks.0.norm.bias is int64; float32 was recorded" in str(raised.value)


def test_other_floating_point_numbers_are_cast_and_said(program, model):
    state = {name: value.bfloat16() for name, value in model.state_dict().items()}
    assert compare_weights(program, state).cast["places.weight"] == ("bfloat16", "float32")
    assert bind(program, state)["places.weight"].dtype == torch.float32


def test_one_of_tied_names_is_enough(program, model):
    state = dict(model.state_dict())
    del state["tokens.weight"]
    bound = bind(program, state)
    assert torch.equal(bound["head.weight" if "head.weight" in bound else "tokens.weight"], state["head.weight"])


def write(path, header, data=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b"[" * 100_000,
        {"a": entry(offsets=(0, 100))},
        {"a": entry(offsets=(8, 0))},
        {"a": entry(offsets=(-8, 0))},
        {"a": entry(shape=(3,))},
        {"a": entry(shape=(2**62, 4))},
        {"a": entry(shape=(True, 2))},
        {"a": entry(dtype="PICKLE")},
        {"a": entry(dtype=["F32"])},
        {"a": entry(), "b": entry(offsets=(4, 12))},
        {"a": "text"},
        {"a": {}},
    ],
)
def test_a_hostile_safetensors_file_is_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    write(path, header, b"\0" * 12)
    with pytest.raises(DamagedFile):
        SafetensorsFile(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 20, struct.pack("<Q", 2**63) + b"{}"])
def test_a_cut_safetensors_file_is_refused(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        SafetensorsFile(path)


def test_all_dtypes_of_safetensors_are_read_as_the_library_writes_them(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    dtypes = [torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64]
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in dtypes}
    tensors |= {"none": torch.empty(0, 3), "scalar": torch.tensor(2.5)}
    library.save_file(tensors, tmp_path / "a.safetensors")
    file = SafetensorsFile(tmp_path / "a.safetensors")
    for name, value in tensors.items():
        found = file.read(name)
        assert found.dtype == value.dtype
        assert torch.equal(found, value)


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_that_holds_code_is_refused_and_runs_nothing(program, tmp_path):
    marker = tmp_path / "marker"
    torch.save({"w": Touch(marker)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Touch(marker)))
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("c/data.pkl", pickle.dumps(Touch(marker)))
        archive.writestr("c/version", "3")
    whole = io.BytesIO()
    torch.save({"w": torch.ones(3)}, whole)
    for cut in range(0, len(whole.getvalue()), 97):
        (tmp_path / f"cut{cut}.pt").write_bytes(whole.getvalue()[:cut])
    for path in tmp_path.glob("*.pt"):
        with pytest.raises(DamagedFile):
            bind(program, path)
    assert not marker.exists()


def test_a_checkpoint_without_tensors_is_refused(program, tmp_path):
    torch.save({"step": 3}, tmp_path / "a.pt")
    with pytest.raises(DamagedFile, match="no state dict"):
        bind(program, tmp_path / "a.pt")
    with pytest.raises(FileNotFoundError):
        bind(program, tmp_path / "b.pt")
