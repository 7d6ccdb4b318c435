"""`Recorder.watch` captures the model with the first batch of the training; the training does not notice."""

import copy
import re
import time
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from explorer import Recorder, RecorderWarning, UsageError, load_model, open_run
from explorer.reading.programs import read_recorded_program
from explorer.recording.program.capture import capture
from tests.program_models import GPT, cnn, mlp
from tests.watched_training import num_hooks, sample, sgd, start, step, summary


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


def test_the_first_watched_model_alone_is_captured_and_once(tmp_path):
    models = {"a": nn.Linear(4, 3), "b": nn.Linear(2, 2), "c": nn.Linear(3, 3)}
    optimizers = {prefix: sgd(model) for prefix, model in models.items()}
    with start(tmp_path) as rec:
        for prefix in ("a", "b"):
            rec.watch(models[prefix], optimizers[prefix], prefix=prefix, kinds="param")
        step(models["b"], optimizers["b"], torch.randn(5, 2))
        step(models["a"], optimizers["a"], torch.randn(5, 4))
        rec.watch(models["c"], optimizers["c"], prefix="c", kinds="param")
        step(models["c"], optimizers["c"], torch.randn(5, 3))
    assert not any(map(num_hooks, models.values()))
    assert [given.shape[-1] for given in open_run(rec.path).program.inputs] == [4]


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
