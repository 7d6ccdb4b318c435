"""`Recorder.watch` captures the model with the first batch of the training; the training does not notice."""

import copy
import json
import re
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from explorer import Recorder, RecorderWarning, UsageError, load_model, open_run
from explorer.reading.programs import read_recorded_program
from explorer.recording.program.capture import capture
from explorer.recording.program.first_batch import MAX_LOGS
from tests.program_models import GPT, cnn, mlp


def start(path, **options):
    return Recorder("t", root=path, quiet=True, system_every_s=None, **options)


def step(model, optimizer, *inputs, **named):
    """One step of a training."""
    optimizer.zero_grad()
    found = model(*inputs, **named)
    loss = (found[1] if isinstance(found, tuple) else found).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def sgd(model):
    return torch.optim.SGD(model.parameters(), 0.1)


def sample(path, role, name):
    """What was recorded of a sample, as an array of float32 or int64."""
    found = next(raw for raw in read_recorded_program(path).samples if (raw.role, raw.name) == (role, name))
    return np.frombuffer(found.data.tobytes(), found.dtype).reshape(found.shape)


def summary(rec):
    return json.loads((rec.path / "summary" / "0001-00000.json").read_text())["program"]


def num_hooks(model):
    names = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)


def test_the_first_examples_of_the_first_batch_are_captured_with_and_recorded(tmp_path):
    model = mlp()
    optimizer, batches = sgd(model), [torch.randn(40, 4) for _ in range(3)]
    first = batches[0].clone()
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        for number, batch in enumerate(batches):
            loss = step(model, optimizer, batch)
            batch.zero_()  # a loader may use its memory again
            if number == 0:
                after = copy.deepcopy(model).eval()
            rec.log({"loss": loss}, step=number)
    program = open_run(rec.path).program
    assert (program.route, program.check) == ("export", {"": 0.0})
    assert program.symbols
    assert (sample(rec.path, "input", "args[0]") == first[:16].numpy()).all()
    with torch.no_grad():
        assert (sample(rec.path, "output", "") == after(first[:16]).numpy()).all()
    assert {raw.role for raw in read_recorded_program(rec.path).samples} == {"input", "output"}
    assert read_recorded_program(rec.path).about == {"left_out": []}
    assert summary(rec)["asked"] == "first batch"


def test_the_program_reproduces_its_outputs_with_the_snapshot_of_that_step(tmp_path):
    model = mlp()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer, step=lambda: number)
        snapshots = rec.snapshots(model, every=1)
        for number in range(7, 9):
            step(model, optimizer, torch.randn(20, 4))
            snapshots.step(number)
    assert open_run(rec.path).program.step == 7
    assert load_model(rec.path, step=7, device="cpu").check().differences == {"": 0.0}
    assert load_model(rec.path, step=8, device="cpu").check().reproduces is None


def test_in_inference_mode_a_batch_is_kept_too(tmp_path):
    model, batch = mlp(), torch.randn(3, 4)
    with start(tmp_path) as rec:
        rec.watch(model)
        with torch.inference_mode():
            model(batch)
            rec.log({"val": 1.0})
    assert (sample(rec.path, "input", "args[0]") == batch.numpy()).all()
    assert open_run(rec.path).program.route == "export"


def test_the_pause_is_announced_with_its_length_and_how_to_switch_it_off(tmp_path, capfd):
    model = mlp()
    optimizer = sgd(model)
    with Recorder("t", root=tmp_path, system_every_s=None) as rec:
        rec.watch(model, optimizer)
        step(model, optimizer, torch.randn(3, 4))
        out, err = capfd.readouterr()
    before, after = err.splitlines()
    assert out == ""
    assert "watch(program=False)" in before
    assert re.fullmatch(r"explorer: the model was captured in \d+\.\d s \(\d+ operators, by export\)", after)
    assert summary(rec)["pause_s"] > 0


def train(path, build, batch, **options):
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with start(path) as rec:
        rec.watch(model, optimizer, **options)
        losses = []
        for number in range(6):
            losses.append(step(model, optimizer, batch() + torch.rand(())))
            rec.log({"loss": losses[-1]}, step=number)
            assert all(module.training for module in model.modules())
    assert num_hooks(model) == 0
    return losses, [value.tolist() for value in model.state_dict().values()], torch.rand(3).tolist(), rec


@pytest.mark.parametrize(
    ("build", "batch"), [(cnn, lambda: torch.randn(4, 1, 8, 8)), (mlp, lambda: torch.randn(20, 4))]
)
def test_the_training_is_the_same_to_the_last_bit(tmp_path, build, batch):
    *found, rec = train(tmp_path / "a", build, batch)
    *wanted, other = train(tmp_path / "b", build, batch, program=False)
    assert found == wanted
    assert open_run(rec.path).program is not None
    assert open_run(other.path).program is None


def test_gradients_and_hooks_stay_as_they_are(tmp_path):
    model, calls = mlp(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer, schedule=1000, kinds="param")
        step(model, optimizer, torch.randn(3, 4))
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.param_groups[0]["lr"] = 0.0
        optimizer.step()
        assert calls == [1]
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert open_run(rec.path).program is not None


def test_named_and_nested_inputs_and_integers_are_kept(tmp_path):
    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, pair, *, more, scale):
            return self.layer(pair[0] + pair[1] * more["x"]) * scale

    model, x = Takes(), torch.randn(20, 4)
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        step(model, optimizer, (x, x), more={"x": x}, scale=2)
    paths = {given.path for given in open_run(rec.path).program.inputs}
    assert paths == {"args[0][0]", "args[0][1]", "kwargs['more']['x']", "kwargs['scale']"}
    assert sample(rec.path, "input", "kwargs['more']['x']").shape == (16, 4)


def test_a_batch_whose_examples_cannot_be_told_apart_is_kept_whole(tmp_path):
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x, edges):
            return self.layer(x.index_add(0, edges[1], x[edges[0]]))

    model = Graph()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        step(model, optimizer, torch.randn(30, 4), torch.randint(0, 30, (2, 50)))
    assert sample(rec.path, "input", "args[0]").shape == (30, 4)


def test_a_model_that_takes_batches_of_one_size_is_captured_with_the_whole_batch(tmp_path):
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.state = nn.Linear(4, 4), torch.zeros(20, 4)

        def forward(self, x):
            return self.layer(x + self.state)

    model = Stateful()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        step(model, optimizer, torch.randn(20, 4))
    assert sample(rec.path, "input", "args[0]").shape == (20, 4)


def test_accumulated_gradients_and_several_calls_of_the_model_are_one_step(tmp_path):
    model = mlp()
    optimizer, batches = sgd(model), [torch.randn(3, 4) for _ in range(4)]
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        for batch in batches:
            (model(batch).mean() + model(batch * 2).mean()).backward()
            assert not rec._program_plug.tasks or rec._program_plug._task is None
        optimizer.step()
        assert rec._program_plug._task is not None
    assert (sample(rec.path, "input", "args[0]") == batches[0].numpy()).all()


def test_a_validation_before_the_training_is_not_taken(tmp_path):
    model = mlp()
    optimizer, batch = sgd(model), torch.randn(3, 4)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        model.eval()
        with torch.inference_mode():
            model(torch.zeros(3, 4))
        rec.log({"val": 1.0}, step=0)
        model.train()
        step(model, optimizer, batch)
    assert (sample(rec.path, "input", "args[0]") == batch.numpy()).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_a_wrapped_model_is_captured(tmp_path, wrap):
    model = wrap(mlp())
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        step(model, optimizer, torch.randn(3, 4))
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        step(model, optimizer, torch.randn(3, 4))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    assert {weight.name for weight in open_run(rec.path).program.weights.values()} == {
        "0.weight", "0.bias", "3.weight", "3.bias",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_a_model_in_distributed_data_parallel_is_captured(tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(mlp())
        optimizer = sgd(model)
        with start(tmp_path / "runs") as rec:
            rec.watch(model, optimizer)
            step(model, optimizer, torch.randn(3, 4))
            step(model, optimizer, torch.randn(3, 4))
    finally:
        torch.distributed.destroy_process_group()
    assert {weight.name for weight in open_run(rec.path).program.weights.values()} >= {"0.weight", "3.bias"}


def test_tokens_with_their_targets_are_captured_as_they_are_trained_on(tmp_path):
    model = GPT()
    optimizer, ids = sgd(model), torch.randint(0, 30, (2, 6))
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        step(model, optimizer, ids, targets=ids)
    assert [given.path for given in open_run(rec.path).program.inputs] == ["args[0]", "kwargs['targets']"]


def test_without_an_optimizer_it_is_captured_at_the_first_log_after_the_forward(tmp_path):
    model = mlp()
    with start(tmp_path) as rec:
        rec.watch(model)
        rec.log({"loss": 1.0})
        assert rec._program_plug._task is None
        model(torch.randn(3, 4))
        assert rec._program_plug._task is None
        rec.log({"loss": 1.0})
        assert rec._program_plug._task is not None
        rec.log({"loss": 2.0})
    assert open_run(rec.path).program.check == {"": 0.0}
    assert list(open_run(rec.path).scalars()["loss"]) == [1.0, 1.0, 2.0]


def test_within_a_backward_pass_nothing_is_captured(tmp_path):
    """Optimizers that step as soon as a gradient is there."""
    model = nn.Linear(4, 2, bias=False)
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        model.weight.register_post_accumulate_grad_hook(lambda _: optimizer.step())
        model(torch.randn(3, 4)).mean().backward()
        assert rec._program_plug._task is None
        rec.log({"loss": 1.0})
        assert rec._program_plug._task is not None
    assert open_run(rec.path).program is not None


class Logs(nn.Module):
    def __init__(self, rec):
        super().__init__()
        self.layer, self.rec = nn.Linear(4, 2), rec

    def forward(self, x):
        self.rec.log({"seen": 1.0})
        return self.layer(x)


def test_within_a_forward_under_autocast_and_in_another_thread_nothing_is_captured(tmp_path):
    with start(tmp_path) as rec:
        model = Logs(rec)
        rec.watch(model)
        for _ in range(3):
            model(torch.randn(3, 4))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rec.log({"loss": 1.0})
        thread = threading.Thread(target=rec.log, args=({"loss": 1.0},))
        thread.start()
        thread.join()
        assert rec._program_plug._task is None
        rec.log({"loss": 1.0})
    assert open_run(rec.path).program is not None
    assert len(open_run(rec.path).scalars()) == 6


def test_where_there_is_never_a_moment_that_is_said_and_the_hooks_are_gone(tmp_path):
    model = mlp()
    with start(tmp_path) as rec:
        rec.watch(model, kinds="param")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(torch.randn(3, 4))
            for _ in range(MAX_LOGS):
                rec.log({"loss": 1.0})
            with pytest.warns(RecorderWarning, match=r"Call program\(model"):
                rec.log({"loss": 1.0})
    assert open_run(rec.path).program is None
    assert num_hooks(model) == 0


def test_a_batch_that_is_too_large_to_keep_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.recording.program.held.MAX_BYTES", 100)
    model = mlp()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        with pytest.warns(RecorderWarning, match="MiB are kept"):
            step(model, optimizer, torch.randn(30, 4))
    assert open_run(rec.path).program is None


def test_what_was_asked_for_before_wins_and_what_is_asked_for_later_replaces_it(tmp_path):
    for order in ("before", "later"):
        model = mlp()
        optimizer, examples = sgd(model), torch.randn(5, 4)
        with warnings.catch_warnings(), start(tmp_path / order) as rec:
            warnings.simplefilter("error")
            rec.watch(model, optimizer)
            if order == "before":
                rec.program(model, examples, labels=[0, 1, 2, 0, 1])
            step(model, optimizer, torch.randn(3, 4))
            if order == "later":
                rec.program(model, examples, labels=[0, 1, 2, 0, 1])
            with pytest.warns(RecorderWarning, match="called again"):
                rec.program(model, examples)
        assert (sample(rec.path, "input", "args[0]") == examples.numpy()).all()
        assert sample(rec.path, "label", "").tolist() == [0, 1, 2, 0, 1]
        assert summary(rec)["asked"] == "asked"


def test_one_model_is_captured_once(tmp_path):
    first, second = mlp(), nn.Linear(2, 2)
    with start(tmp_path) as rec:
        for prefix, model in (("a", first), ("b", second)):
            rec.watch(model, sgd(model), prefix=prefix, kinds="param")
        step(second, sgd(second), torch.randn(3, 2))
        optimizer = sgd(first)
        rec.watch(nn.Linear(3, 3), prefix="c", kinds="param")
        first(torch.randn(3, 4)).sum().backward()
        optimizer.step()
        rec.log({"loss": 1.0})
    assert num_hooks(first) == num_hooks(second) == 0


def test_a_model_that_cannot_be_captured_ends_no_training(tmp_path):
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            if not self.training:
                raise RuntimeError("only for training")
            return self.layer(x)

    model = Raises()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        with pytest.warns(RecorderWarning, match="only for training"):
            step(model, optimizer, torch.randn(3, 4))
        step(model, optimizer, torch.randn(3, 4))
    assert open_run(rec.path).program is None
    assert "in evaluation mode" in open_run(rec.path).program_problems[0]


def test_nothing_is_captured_on_other_ranks_when_switched_off_or_after_removal(tmp_path):
    for how in ("rank", "switch", "remove"):
        model = mlp()
        optimizer = sgd(model)
        with start(tmp_path / how, **({"rank": 1, "run_id": "r"} if how == "rank" else {})) as rec:
            handle = rec.watch(model, optimizer, program=how != "switch")
            if how == "remove":
                model(torch.randn(3, 4))
                handle.remove()
            step(model, optimizer, torch.randn(3, 4))
            rec.log({"loss": 1.0})
        assert not (rec.path / "program").exists()
        assert num_hooks(model) == 0


def test_a_wrong_argument_is_an_error_at_once(tmp_path):
    with start(tmp_path) as rec, pytest.raises(UsageError, match="True or False"):
        rec.watch(mlp(), program=torch.randn(3, 4))


def test_the_pause_is_counted_as_cost_of_the_recording_and_not_as_a_step_of_the_training(tmp_path, monkeypatch):
    def slowly(*arguments, **named):
        until_s = time.thread_time() + 0.5
        while time.thread_time() < until_s:
            pass
        return capture(*arguments, **named)

    monkeypatch.setattr("explorer.recording.program.capture.capture", slowly)
    model = mlp()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        for number in range(4):
            step(model, optimizer, torch.randn(3, 4))
            rec.log({"loss": 1.0}, step=number)
    times = open_run(rec.path).scalars()["watch/step_s"].dropna()
    assert summary(rec)["pause_s"] > 0.5
    assert len(times) == 3
    assert times.min() < 0.4  # the others may be slow on a busy machine


def test_a_copy_or_a_pickle_of_a_model_that_waits_holds_nothing_of_the_recorder(tmp_path):
    model = mlp()
    with start(tmp_path) as rec:
        rec.watch(model, sgd(model), kinds="param")
        copied = copy.deepcopy(model)
        assert functional.mse_loss(copied(torch.ones(2, 4)), copied(torch.ones(2, 4))) >= 0
        assert rec._program_plug._first_batch._held is None
