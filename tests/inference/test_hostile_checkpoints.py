"""A1 to A15: files that run code for whoever loads them as their makers meant. Each is refused and runs nothing."""

import io
import pickle
import random
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from explorer.errors import DamagedFile, ProgramError
from explorer.inference.weights import bind
from explorer.recording.program.capture import capture
from explorer.storage.program_document import parse_program
from tests.hostile_files import Touch


@pytest.fixture(scope="module")
def model():
    return nn.Linear(3, 2)


@pytest.fixture(scope="module")
def program(model):
    return parse_program(capture(model, (torch.zeros(2, 3),), {}).document)


def pickled(path, model, marker):
    path.write_bytes(pickle.dumps({"weight": Touch(marker)}))


def legacy_tar(path, model, marker):
    with tarfile.open(path, "w") as tar:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            data = pickle.dumps(Touch(marker))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def one_bad_global(path, model, marker):
    torch.save({**model.state_dict(), "epoch": Touch(marker)}, path)


def whole_module(path, model, marker):
    torch.save(model, path)


def exported(path, model, marker):
    """A5 to A11: an archive of torch.export with a pickle for each member that it loads as one."""
    good = io.BytesIO()
    torch.export.save(torch.export.export(model, (torch.zeros(2, 3),)), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            hostile = name.endswith((".pt", ".pkl")) or "weight" in name or "sample_inputs" in name
            target.writestr(name, pickle.dumps(Touch(marker)) if hostile else source.read(name))


def distributed(path, model, marker):
    path.write_bytes(pickle.dumps({"state_dict_metadata": Touch(marker), "planner_data": {}}))


def script(path, model, marker):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(model), str(path))


def objects_of_numpy(path, model, marker):
    with open(path, "wb") as file:
        np.save(file, np.array([Touch(marker)], dtype=object), allow_pickle=True)


def joblib_like(path, model, marker):
    path.write_bytes(zlib.compress(pickle.dumps({"weight": Touch(marker)})))


HOSTILE = (
    pickled, legacy_tar, one_bad_global, whole_module, exported, distributed, script, objects_of_numpy, joblib_like,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("write", HOSTILE, ids=lambda write: write.__name__)
@pytest.mark.parametrize("suffix", ["pt", "ckpt"])
def test_a_file_that_would_run_code_is_refused_by_its_name(program, model, tmp_path, write, suffix):
    path, marker = tmp_path / f"x.{suffix}", tmp_path / "marker"
    write(path, model, marker)
    with pytest.raises(DamagedFile) as refused:
        bind(program, path)
    assert refused.value.path == path
    assert not marker.exists()


def test_a_checkpoint_with_changed_bytes_is_refused_or_holds_tensors(program, model, tmp_path):
    """A4."""
    good = io.BytesIO()
    torch.save(model.state_dict(), good)
    chance = random.Random(4)
    path = tmp_path / "x.pt"
    ends = {"whole": 0, "refused": 0}
    for number in range(200):
        data = bytearray(good.getvalue())
        if number % 4:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        else:
            del data[chance.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            found = bind(program, path)
        except (DamagedFile, ProgramError):
            ends["refused"] += 1
            continue
        ends["whole"] += 1
        assert found["weight"].shape == (2, 3)
    assert min(ends.values()) > 20
