"""`Recorder.program`: what is written, and that the training does not notice."""

import copy
import json
import random
import re
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Recorder, RecorderWarning, UsageError, open_run
from explorer.reading.programs import read_recorded_program
from explorer.storage.verify import verify_run
from tests.program_models import GPT, CountsCalls, cnn, mlp


@pytest.fixture
def record(tmp_path):
    """`record(model, *inputs, **options)` captures in a run of its own and gives the run's path."""

    def run(*inputs, **options):
        with Recorder("t", root=tmp_path, quiet=True, system_every_s=None) as rec:
            rec.log({"loss": 1.0}, step=4)
            rec.program(*inputs, **options)
            return rec.path

    return run


def test_a_captured_model_is_in_the_run_with_its_examples(record):
    model, x = mlp(), torch.randn(3, 4)
    path = record(model, x, labels=[0, 2, 1], class_names=["a", "b", "c"], feature_names=list("wxyz"), kind="table")
    found = read_recorded_program(path)
    model.eval().requires_grad_(False)
    tensors = {(raw.role, raw.name): raw for raw in found.samples}
    assert tensors["input", "args[0]"].data.tobytes() == x.numpy().tobytes()
    assert tensors["output", ""].data.tobytes() == model(x).numpy().tobytes()
    assert np.frombuffer(tensors["label", ""].data.tobytes(), np.int64).tolist() == [0, 2, 1]
    assert found.about == {
        "kind": "table", "class_names": ["a", "b", "c"], "feature_names": list("wxyz"), "left_out": [],
    }  # fmt: skip
    assert found.problems == ()
    program = open_run(path).program
    assert (program.route, program.step, program.check) == ("export", 4, {"": 0.0})
    assert verify_run(path) == []
    summary = json.loads((path / "summary" / "0001-00000.json").read_text())
    assert summary["program"]["route"] == "export"
    assert summary["overhead"]["sampling_s"] > 0


def test_what_belongs_to_the_program_is_written_beside_it(record):
    path = record(GPT(fused=False), torch.randint(0, 30, (2, 6)), vocabulary={"b": 1, "a": 0})
    found = read_recorded_program(path)
    assert any(raw.shape == (32, 32) for raw in found.constants)
    assert found.about["vocabulary"] == ["a", "b"]
    assert (path / "program" / "0001-00000.constants.parquet").is_file()
    (path / "program" / "0001-00000.constants.parquet").unlink()
    (path / "samples" / "0001-00000.parquet").write_bytes(b"no")
    assert [finding.path.name for finding in verify_run(path)] == ["0001-00000.parquet", "0001-00000.constants.parquet"]


def train(path, capture, build=cnn):
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    with Recorder("t", root=path, quiet=True, system_every_s=None) as rec:
        for step in range(8):
            x = torch.randn(4, 1, 8, 8) + random.random() + np.random.rand()
            if step == 3 and capture:
                rec.program(model, x)
            optimizer.zero_grad()
            loss = nn.functional.dropout(model(x), 0.3).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, (torch.rand(1).item(), random.random(), np.random.rand())


def test_the_losses_of_a_training_are_the_same_to_the_last_bit(tmp_path):
    assert train(tmp_path / "a", capture=True) == train(tmp_path / "b", capture=False)


def test_the_model_stays_as_it_is(record):
    model = nn.ModuleDict({"counts": CountsCalls(), "norm": nn.BatchNorm1d(4)})["counts"]
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(2, 4)).sum().backward()
    model.layer.eval()
    last, before = model.last, copy.deepcopy({name: value.clone() for name, value in model.state_dict().items()})
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    versions = [value._version for value in model.state_dict(keep_vars=True).values()]
    record(model, torch.randn(2, 4))
    assert calls == [1]
    assert model.last is last
    assert (model.training, model.layer.training) == (True, False)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert versions == [value._version for value in model.state_dict(keep_vars=True).values()]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))


def test_the_examples_stay_as_they_are(record):
    class WritesIntoItsInput(nn.Module):
        def forward(self, x):
            return x.mul_(2)

    x = torch.ones(2, 3)
    record(WritesIntoItsInput(), x)
    assert x.eq(1).all()


class Locked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.lock, self.file = nn.Linear(4, 2), threading.Lock(), open("/dev/null")  # noqa: SIM115

    def forward(self, x):
        return self.layer(x)


def test_a_member_that_cannot_be_copied_is_no_obstacle(record):
    model = Locked()
    assert open_run(record(model, torch.randn(2, 4))).program is not None
    model.file.close()


class Trained(nn.Module):
    """As frameworks do it: the trainer hangs in the module, and `forward` is wrapped on the object."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.trainer = self._trainer = type("Trainer", (), {"__deepcopy__": lambda *_: 1 / 0})()

    def forward(self, x):
        return self.net(x)


def test_wrappers_of_frameworks_are_seen_through(record):
    import functools

    model = Trained()
    inner = model.forward
    model.forward = functools.wraps(inner)(lambda x: inner(x) * 1)
    program = open_run(record(model, torch.randn(2, 4))).program
    assert [node.op for node in program.graph.nodes if node.dtype] == ["aten.linear.default"]


@pytest.mark.parametrize("mode", ["autocast", "no_grad", "inference_mode"])
def test_whatever_mode_the_training_is_in_does_not_get_into_the_program(record, mode):
    how = {
        "autocast": torch.autocast("cpu", dtype=torch.bfloat16), "no_grad": torch.no_grad(),
        "inference_mode": torch.inference_mode(),
    }[mode]  # fmt: skip
    with how:
        path = record(mlp(), torch.randn(3, 4))
    program = open_run(path).program
    assert program.autocast == ("bfloat16" if mode == "autocast" else "")
    assert {node.dtype for node in program.graph.nodes} <= {"float32", ""}


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_is_captured_and_not_compiled_again(record):
    model = torch.compile(mlp(), backend="eager")
    x = torch.randn(3, 4)
    model(x)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    path = record(model, x)
    model(x)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    assert sorted(weight.name for weight in open_run(path).program.weights.values())[0] == "0.bias"


@pytest.mark.filterwarnings("ignore")
def test_a_model_in_distributed_data_parallel_is_captured(record, tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        path = record(nn.parallel.DistributedDataParallel(mlp()), torch.randn(3, 4))
    finally:
        torch.distributed.destroy_process_group()
    assert {weight.name for weight in open_run(path).program.weights.values()} == {
        "0.weight", "0.bias", "3.weight", "3.bias",
    }  # fmt: skip


class Impossible(nn.Module):
    def forward(self, x):
        raise RuntimeError("not today")


def test_a_model_that_cannot_be_captured_is_said_once_and_the_reasons_are_recorded(tmp_path):
    with Recorder("t", root=tmp_path, quiet=True, system_every_s=None) as rec:
        with pytest.warns(RecorderWarning, match="not today"):
            rec.program(Impossible(), torch.randn(2, 2))
        rec.log({"loss": 1.0})
    run = open_run(rec.path)
    assert run.program is None
    assert "not today" in run.program_problems[0]
    assert list(run.scalars()["loss"]) == [1.0]
    assert verify_run(rec.path) == []


def test_a_model_is_captured_once_in_an_attempt_and_the_newest_attempt_counts(tmp_path):
    with Recorder("t", root=tmp_path, run_id="r", quiet=True, system_every_s=None) as rec:
        rec.program(nn.Linear(2, 2), torch.randn(2, 2))
        with pytest.warns(RecorderWarning, match="again"):
            rec.program(nn.Linear(3, 3), torch.randn(2, 3))
    assert open_run(rec.path).program.inputs[0].shape[1] == 2
    for build, expected in ((nn.Linear(3, 3), 3), (Impossible(), 3)):
        with (
            warnings.catch_warnings(),
            Recorder("t", root=tmp_path, run_id="r", resume="must", quiet=True, system_every_s=None) as rec,
        ):
            warnings.simplefilter("ignore")
            rec.program(build, torch.randn(2, 3))
        assert open_run(rec.path).program.inputs[0].shape[1] == expected


def test_other_ranks_and_recorders_that_are_off_capture_nothing(tmp_path):
    for options in ({"rank": 1, "run_id": "r"}, {"enabled": False}):
        with Recorder("t", root=tmp_path, quiet=True, system_every_s=None, **options) as rec:
            rec.program(nn.Linear(2, 2), torch.randn(2, 2))
        assert rec.path is None or not (rec.path / "program").exists()


def test_the_pause_is_announced_and_its_length_told(tmp_path, capsys):
    with Recorder("t", root=tmp_path, system_every_s=None) as rec:
        rec.program(nn.Linear(2, 2), torch.randn(2, 2))
        before, after = capsys.readouterr().err.splitlines()
    assert before == "explorer: capturing the model, so that it can be run again later; the training waits, once"
    assert re.fullmatch(r"explorer: the model was captured in \d+\.\d s \(\d+ operators, by export\)", after)
    summary = json.loads((rec.path / "summary" / "0001-00000.json").read_text())["program"]
    assert summary["asked"] == "asked"
    assert 0 < summary["took_s"] < summary["pause_s"] + 1


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((print, 1), {}, "torch.nn.Module"),
        ((nn.Linear(2, 2),), {}, "what the model is called with"),
        ((nn.Linear(2, 2), 1), {"kind": "sound"}, "image, tokens, table"),
        ((nn.Linear(2, 2), 1), {"class_names": "cat"}, "class_names should be a list"),
        ((nn.Linear(2, 2), 1), {"vocabulary": {"a": -1}}, "vocabulary should map"),
        ((nn.Linear(2, 2), 1), {"labels": ["cat"]}, "labels should be"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(record, arguments, options, message):
    with pytest.raises(UsageError, match=message):
        record(*arguments, **options)


def test_an_example_that_is_too_large_is_left_out_and_named(record):
    class Repeats(nn.Module):
        def forward(self, x):
            return x.repeat(1, 20_000)

    found = read_recorded_program(record(Repeats(), torch.ones(2, 500)))
    assert found.about["left_out"] == [""]
    assert [raw.role for raw in found.samples] == ["input"]


def test_of_a_batch_that_is_too_large_as_many_examples_are_kept_as_fit(record):
    model, batch = nn.Linear(2_000_000, 2), torch.randn(10, 2_000_000)
    path = record(model, batch, labels=torch.arange(10))
    kept = {raw.role: raw for raw in read_recorded_program(path).samples}
    assert kept["input"].shape == (8, 2_000_000)
    assert kept["output"].shape == (8, 2)
    assert bytes(kept["label"].data) == torch.arange(8).numpy().tobytes()
    assert bytes(kept["input"].data) == batch[:8].numpy().tobytes()


def test_of_a_batch_whose_size_is_fixed_no_part_is_kept(record):
    class Decides(nn.Module):
        def forward(self, x):
            return x.mean(1) if x.sum() > -1e9 else x.sum(1)

    found = read_recorded_program(record(Decides(), torch.ones(10, 2_000_000)))
    assert found.program.route == "tape"
    assert found.about["left_out"] == ["args[0]"]
    assert [raw.role for raw in found.samples] == ["output"]
