"""Runs that a stranger wrote: whatever is in their files, a clear refusal, nothing runs, and the child lives on."""

import shutil
import time

import numpy as np
import pytest

from explorer.errors import ExplorerError, FileError, ProgramError, UsageError
from explorer.inference.sandbox.session import Sandbox
from tests.hostile_files import PROGRAMS, TABLES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
REFUSED = (ProgramError, UsageError, FileError)


@pytest.fixture(scope="module")
def good(digits, recorded):
    return recorded(digits.model, digits.inputs[:4], labels=digits.labels[:4])


@pytest.fixture(scope="module")
def box(good):
    with Sandbox(memory_bytes=3 * 2**29, time_limit_s=20) as found:
        found.add_model("good", lambda: {"run": str(good), "step": 0})
        yield found


@pytest.fixture
def run(good, tmp_path):
    return shutil.copytree(good, tmp_path / "run")


def outcome(box, run, marker):
    """What a hostile run comes to: its answer or its refusal; the child must be there for the next one."""
    box.request("run", {"key": "good"})
    pid, began = box.pid, time.monotonic()
    box.add_model("bad", lambda: {"run": str(run), "step": 0, "version": str(run)})
    try:
        found = box.request("run", {"key": "bad"})
    except REFUSED as error:
        found = error
    assert time.monotonic() - began < 15
    assert not marker.exists()
    assert box.pid == pid
    assert box.request("run", {"key": "good"})["after"][""].shape == (4, 10)
    return found


@pytest.mark.parametrize("write", PROGRAMS, ids=lambda write: write.__name__)
def test_a_hostile_program_is_refused(box, run, tmp_path, write):
    write(next((run / "program").glob("*.json.gz")), tmp_path / "marker")
    found = outcome(box, run, tmp_path / "marker")
    assert isinstance(found, ExplorerError)
    assert len(str(found)) < 2_001


@pytest.mark.parametrize("write", TABLES, ids=lambda write: write.__name__)
def test_hostile_weights_are_refused_by_their_file(box, run, good, tmp_path, write):
    path = next((run / "params").rglob("*.parquet"))
    write(path, tmp_path / "marker")
    found = outcome(box, run, tmp_path / "marker")
    if isinstance(found, ExplorerError):
        assert any(part in str(found) for part in (path.name, "snapshot", "weights"))
    else:  # nothing that matters was changed
        assert np.array_equal(found["after"][""], box.request("run", {"key": "good"})["after"][""])


@pytest.mark.parametrize("write", TABLES, ids=lambda write: write.__name__)
def test_hostile_examples_are_left_out_or_refused(box, run, tmp_path, write):
    write(next((run / "samples").glob("*.parquet")), tmp_path / "marker")
    found = outcome(box, run, tmp_path / "marker")
    if isinstance(found, ExplorerError):
        assert "no recorded examples" in str(found) or "input" in str(found)
    else:
        assert found["after"][""].shape[-1] == 10


def test_a_huge_input_is_told_to_be_one(digits, recorded):
    run = recorded(digits.model, digits.inputs[:4])
    with Sandbox(memory_bytes=2**28, time_limit_s=30) as box:
        box.add_model("m", lambda: {"run": str(run), "step": 0})
        images = np.zeros((200_000, 1, 8, 8), np.float32)
        with pytest.raises(ExplorerError, match=r"more than the 0\.25 GiB that the sandbox may take"):
            box.request("run", {"key": "m", "inputs": {digits.path: images}})
        assert box.request("run", {"key": "m"})["after"][""].shape == (4, 10)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (np.zeros((2, 3, 8, 8), np.float32), "args"),
        (np.zeros((2, 8, 8), np.float32), "dimensions"),
        (np.zeros((2, 1, 8, 8), np.int64), "int64"),
    ],
    ids=["channels", "rank", "dtype"],
)
def test_inputs_outside_of_what_was_captured_are_refused_in_words(box, digits, inputs, text):
    with pytest.raises(ProgramError, match=text):
        box.request("run", {"key": "good", "inputs": {digits.path: inputs}})


def test_outputs_that_are_no_numbers_come_through(box, digits):
    recipe = [{"edit": "set", "target": "fc.bias", "value": 3e38}, {"edit": "scale", "target": "fc", "factor": 1e30}]
    answer = box.request("run", {"key": "good", "recipe": recipe, "nodes": True, "control": 0})
    assert not np.isfinite(answer["after"][""]).all()
    assert np.isfinite(answer["before"][""]).all()
