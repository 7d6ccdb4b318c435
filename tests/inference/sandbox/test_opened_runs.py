"""A child that opens recorded runs itself: the weights of any step or file, kept, read ahead, compared, moved."""

import queue
import shutil

import numpy as np
import pytest
import torch

from explorer.errors import OutOfMemory, ProgramError, UsageError
from explorer.inference.loading import load_model
from explorer.inference.sandbox.models import Models
from explorer.inference.sandbox.requests import HANDLERS
from explorer.inference.sandbox.serving import answered, next_request
from explorer.inference.sandbox.weight_store import WeightStore
from explorer.inference.sandbox.wire import Message
from tests.inference.conftest import put_snapshot

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def run(digits, recorded):
    """The digits model at step 0 as it ended, and at two other steps."""
    path = recorded(digits.model, digits.inputs[:6], labels=digits.labels[:6], kind="image")
    put_snapshot(path, 7, digits.halfway)
    put_snapshot(path, 9, digits.first)
    return path


def opening(run, key="m", **more):
    return {"key": key, "run": str(run), "version": "1", **more}


def after(answer):
    return answer["after"][""]


def quiet(_done, _total=None):
    """Nobody wants to know how far it is."""


def test_every_step_gives_what_load_model_gives(sandbox, run):
    for step in (0, 7, 9):
        sandbox.add_model("m", lambda step=step: opening(run, step=step))
        answer = sandbox.request("run", {"key": "m"})
        assert np.array_equal(after(answer), load_model(run, step, "cpu").run().outputs[""].numpy())
    sandbox.add_model("last", lambda: opening(run, "last"))
    assert np.array_equal(after(sandbox.request("run", {"key": "last"})), after(answer))


def test_other_steps_are_read_by_the_child_itself(sandbox, run, digits):
    sandbox.add_model("m", lambda: opening(run, step=0))
    inputs = {digits.path: digits.inputs[:6].numpy()}
    answer = sandbox.request("scrub", {"key": "m", "steps": [0, 7, 9], "inputs": inputs})
    assert np.array_equal(answer["outputs"][1], digits.eager(digits.inputs[:6], digits.halfway).numpy())
    taken = sandbox.request("run", {"key": "m", "recipe": [{"edit": "take", "target": "", "step": 7}]})
    assert np.array_equal(after(taken), answer["outputs"][1])
    reset = sandbox.request("run", {"key": "m", "recipe": [{"edit": "reset", "target": ""}]})
    assert np.array_equal(after(reset), answer["outputs"][0])
    with pytest.raises(ProgramError, match="no snapshot at step 8"):
        sandbox.request("run", {"key": "m", "recipe": [{"edit": "take", "target": "", "step": 8}]})


def test_weights_of_another_run_are_found_by_its_id_and_by_nothing_else(sandbox, run, digits):
    twin = run.parent / "twin"
    shutil.copytree(run, twin, dirs_exist_ok=True)
    sandbox.add_model("m", lambda: opening(run, step=0))
    edit = {"edit": "take", "target": "", "step": 7, "run": "twin"}
    answer = sandbox.request("run", {"key": "m", "recipe": [edit], "inputs": {digits.path: digits.inputs.numpy()}})
    assert np.array_equal(after(answer), digits.eager(weights=digits.halfway).numpy())
    for name in ("../twin", str(twin), "nowhere"):
        with pytest.raises((ProgramError, UsageError)):
            sandbox.request("run", {"key": "m", "recipe": [{**edit, "run": name}]})


def test_the_original_is_not_sent_where_it_is_known(sandbox, run, digits):
    sandbox.add_model("m", lambda: opening(run, step=0))
    recipe = [{"edit": "zero", "target": "fc.bias"}]
    whole = sandbox.request("run", {"key": "m", "recipe": recipe})
    half = sandbox.request("run", {"key": "m", "recipe": recipe, "before": False})
    assert half["before"] == {}
    assert np.array_equal(after(half), after(whole))
    assert np.array_equal(whole["before"][""], digits.eager(digits.inputs[:6]).numpy())


def test_the_recorded_output_is_compared_only_with_the_weights_of_the_capture(sandbox, run):
    sandbox.add_model("m", lambda: opening(run, step=0))
    found = sandbox.request("check", {"key": "m"})
    assert found["close"] is True
    assert found["largest"] <= 1e-4
    sandbox.add_model("m", lambda: opening(run, step=7))
    assert sandbox.request("check", {"key": "m"}) == {"largest": None, "close": None}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_of_weights_takes_the_place_of_a_step(sandbox, run, digits, tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    state = {f"model.{name}": tensor for name, tensor in digits.halfway.items()}
    save(state, path)
    sandbox.add_model("m", lambda: opening(run, step=0))
    fit = sandbox.request("fit", {"key": "m", "file": str(path)})
    assert (fit["complete"], fit["prefix"]) == (False, "model.")
    assert fit["counts"]["missing"] == len(state)
    assert "model.fc.bias" in fit["unused"]
    assert sandbox.request("fit", {"key": "m", "file": str(path), "prefix": "model."})["complete"]
    sandbox.add_model("f", lambda: opening(run, "f", file=str(path), prefix="model."))
    answer = sandbox.request("run", {"key": "f"})
    assert np.array_equal(after(answer), digits.eager(digits.inputs[:6], digits.halfway).numpy())
    again = load_model(run, device="cpu", weights=path, prefix="model.")
    assert np.array_equal(after(answer), again.run().outputs[""].numpy())


def test_a_file_that_does_not_fit_is_told_weight_by_weight(sandbox, run, digits, tmp_path):
    path = tmp_path / "w.pt"
    state = dict(digits.halfway)
    state["fc.bias"] = torch.zeros(11)
    state["x" * 5_000] = state.pop("conv1.bias")
    save(state, path)
    sandbox.add_model("m", lambda: opening(run, step=0))
    fit = sandbox.request("fit", {"key": "m", "file": str(path)})
    assert fit["missing"] == ["conv1.bias"]
    assert fit["mismatched"] == {"fc.bias": "has the shape (11,); (10,) was recorded"}
    assert fit["unused"] == ["x" * 200]
    sandbox.add_model("f", lambda: opening(run, "f", file=str(path)))
    with pytest.raises(ProgramError, match=r"conv1.bias.*fc.bias has the shape"):
        sandbox.request("run", {"key": "f"})


def test_a_file_that_is_none_is_refused(sandbox, run, tmp_path):
    sandbox.add_model("m", lambda: opening(run, step=0))
    (tmp_path / "folder.pt").mkdir()
    for name, text in (("none.pt", "cannot be read: No such file"), ("folder.pt", "is not a regular file")):
        with pytest.raises((UsageError, ProgramError), match=text):
            sandbox.request("fit", {"key": "m", "file": str(tmp_path / name)})


def test_neighbouring_steps_are_read_while_nothing_is_asked(run):
    models = Models()
    models.open(opening(run, step=0))
    waiting = queue.SimpleQueue()
    waiting.put(Message("hint", {"number": 0, "value": {"key": "m", "steps": [7, 12_345]}}))

    class Asked(queue.SimpleQueue):
        """A request comes only when there is nothing left to read."""

        def get(self, block=True):
            if not waiting.empty():
                return waiting.get()
            if not block:
                raise queue.Empty
            return Message("run", {"number": 1, "value": {}})

    assert next_request(Asked(), models).kind == "run"
    assert len(models._store) == 2


def test_weights_are_kept_up_to_a_size_and_the_latest_always():
    store = WeightStore(3 * 400)
    reads = []

    def read(number):
        def weights():
            reads.append(number)
            tied = torch.zeros(100)
            return {"a": tied, "b": tied}

        return weights

    for number in (1, 2, 3, 1, 4, 2):
        store.get(number, read(number))
    assert reads == [1, 2, 3, 4, 2]  # 2 was the least recently used when 4 came
    assert store.num_bytes == 1200
    tight = WeightStore(10)
    tight.get(1, read(1))
    assert 1 in tight
    assert tight.num_free_bytes == 0


def test_a_device_with_too_little_memory_is_told_and_the_cpu_takes_over(run, monkeypatch):
    monkeypatch.setattr("explorer.inference.sandbox.models.pick_device", torch.device)
    models = Models("meta")

    def handler(models, request, tick):
        if models.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        models.open(opening(run, step=0))
        return HANDLERS["run"](models, {"key": "m"}, tick)

    found, note = answered(handler, models, {}, quiet)
    assert after(found).shape == (6, 10)
    assert note == "the model does not fit into the memory of meta. It ran on the CPU instead"
    assert answered(HANDLERS["run"], models, {"key": "m"}, quiet)[1] == note

    def always(_models, _request, _tick):
        raise MemoryError

    with pytest.raises(OutOfMemory, match="memory of cpu"):
        answered(always, models, {}, quiet)


def test_a_device_that_is_not_there_is_refused(run):
    with pytest.raises(UsageError, match="there is no device 'cuda:77' here"):
        answered(HANDLERS["open"], Models("cuda:77"), opening(run), quiet)


def save(state, path):
    """As a user's training would."""
    if path.suffix == ".pt":
        torch.save(state, path)
        return
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
