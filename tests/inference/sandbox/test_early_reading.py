"""Weights that are read while PyTorch is imported: the same ones, within the limits, and nothing on their word."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from explorer.errors import DamagedFile
from explorer.inference.loading import load_model
from explorer.inference.sandbox.early_reading import EarlyReading
from explorer.inference.sandbox.models import Models
from explorer.inference.sandbox.requests import HANDLERS
from explorer.inference.sandbox.session import Sandbox
from explorer.reading.snapshots import Snapshot
from explorer.storage.snapshot_files import open_snapshot_file
from tests.hostile_files import PROGRAMS, TABLES
from tests.inference.conftest import put_snapshot

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def run(digits, recorded):
    """The digits model at step 0 as it ended, and at step 7 as it was halfway."""
    path = recorded(digits.model, digits.inputs[:4], labels=digits.labels[:4])
    put_snapshot(path, 7, digits.halfway)
    return path


def early(run, step, memory_bytes=None, **more):
    return EarlyReading({"run": str(run), "step": step, **more}, memory_bytes)


def quiet(_done, _total=None):
    """Nobody wants to know how far it is."""


@pytest.mark.parametrize("asked", [7, None])
def test_what_is_read_early_are_the_weights_of_the_step_or_of_the_last_one(run, digits, asked):
    reading = early(run, asked)
    snapshot, held = reading.take(str(run), 7)
    assert snapshot.step == 7
    for name, data in held.items():
        assert data.tobytes() == digits.halfway[name].numpy().tobytes()
    assert held.keys() == {weight.name for weight in digits.program.weights.values() if weight.role != "constant"}
    assert reading.num_bytes == sum(data.nbytes for data in held.values())


def test_of_another_step_or_run_nothing_is_given(run):
    assert early(run, 7).take(str(run), 0) is None
    assert early(run, 7).take(str(run.parent / "other"), 7) is None
    assert early(run, 8).take(str(run), 8) is None
    assert early(run.parent / "nowhere", 7).take(str(run.parent / "nowhere"), 7) is None


def test_weights_of_a_file_and_own_code_are_not_read_early(run):
    for more in ({"file": "weights.safetensors"}, {"factory": True}):
        reading = early(run, 7, **more)
        assert reading.num_bytes == 0
        assert reading.take(str(run), 7) is None


def test_weights_that_take_more_than_their_share_of_the_memory_are_not_read_early(run):
    size = early(run, 7).num_bytes
    assert early(run, 7, 4 * size).take(str(run), 7) is not None
    reading = early(run, 7, 4 * size - 4)
    assert reading.num_bytes == 0
    assert reading.take(str(run), 7) is None


def test_the_first_question_is_answered_with_them_and_reads_nothing_again(run, monkeypatch):
    reading = early(run, 7)
    assert reading.take(str(run), 7) is not None
    models = Models("cpu", 2**30, early=reading)
    with monkeypatch.context() as patched:
        patched.setattr(Snapshot, "read_into", lambda *_: pytest.fail("they were read already"))
        models.open({"key": "m", "run": str(run), "step": 7})
        found = HANDLERS["run"](models, {"key": "m"}, quiet)["after"][""]
    assert np.array_equal(found, load_model(run, 7, "cpu").run().outputs[""].numpy())
    models.open({"key": "first", "run": str(run), "step": 0})
    found = HANDLERS["run"](models, {"key": "first"}, quiet)["after"][""]
    assert np.array_equal(found, load_model(run, 0, "cpu").run().outputs[""].numpy())


@pytest.mark.parametrize("expected", [0, 7, None])
def test_a_child_that_was_told_early_answers_right_whatever_is_asked(run, expected):
    with Sandbox(memory_bytes=2**30) as box:
        box.start({"run": str(run), "step": expected})
        for step in (7, 0):
            box.add_model("m", lambda step=step: {"run": str(run), "step": step})
            found = box.request("run", {"key": "m"})["after"][""]
            assert np.array_equal(found, load_model(run, step, "cpu").run().outputs[""].numpy())


def test_a_flipped_bit_is_refused_by_who_asks(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    path = next((copy / "params" / "000000000007").glob("*.parquet"))
    with open_snapshot_file(path) as file:
        name, entry = max(file.entries.items(), key=lambda item: item[1].num_bytes)
    data = bytearray(path.read_bytes())
    data[entry.places[0][0] + 5] ^= 1
    path.write_bytes(data)
    assert early(copy, 7).take(str(copy), 7) is None
    models = Models(early=early(copy, 7))
    with pytest.raises(DamagedFile, match=f"wrong checksum in tensor '{name}'"):
        models.open({"key": "m", "run": str(copy), "step": 7})


HOSTILE = [*(("program", write) for write in PROGRAMS), *(("params", write) for write in TABLES)]


@pytest.mark.parametrize(("folder", "write"), HOSTILE, ids=lambda value: getattr(value, "__name__", value))
def test_hostile_files_give_nothing_or_what_load_model_reads(run, tmp_path, folder, write):
    copy, marker = shutil.copytree(run, tmp_path / "run"), tmp_path / "marker"
    write(next(path for path in (copy / folder).rglob("*") if path.is_file()), marker)
    found = early(copy, 0, 2**30).take(str(copy), 0)
    assert not marker.exists()
    if found is not None:
        snapshot, held = found
        for name, data in held.items():
            assert np.array_equal(data, snapshot.read_bytes(name))


def test_memory_that_was_taken_before_the_limit_counts(run):
    code = """
import resource, numpy
from explorer.inference.sandbox.child import limit_memory
held = numpy.empty(2**28, numpy.uint8)
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit_memory(2**30, held.nbytes)
print(resource.getrlimit(resource.RLIMIT_AS)[0] - taken)
"""
    if sys.platform != "linux":
        pytest.skip("only Linux holds a process to its address space")
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert abs(int(found.stdout) - (2**30 - 2**28)) < 2**22


def test_reading_early_needs_no_torch():
    code = "import sys, explorer.inference.sandbox.child; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "False"
