"""When the first batch is taken, and when it is captured with: between two steps, and never in the middle of one."""

import os
import threading

import pytest
import torch
from torch import nn

from explorer import RecorderWarning, open_run
from explorer.recording.program.first_batch import MAX_LOGS
from tests.program_models import mlp
from tests.watched_training import num_hooks, sample, sgd, start, step


def test_in_inference_mode_a_batch_is_kept_too(tmp_path):
    model, batch = mlp(), torch.randn(3, 4)
    with start(tmp_path) as rec:
        rec.watch(model)
        with torch.inference_mode():
            model(batch)
            rec.log({"val": 1.0})
    assert (sample(rec.path, "input", "args[0]") == batch.numpy()).all()
    assert open_run(rec.path).program.route == "export"


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


def test_a_row_that_is_logged_before_the_step_is_not_the_moment(tmp_path):
    model = mlp()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        loss = model(torch.randn(3, 4)).mean()
        rec.log({"loss": loss})
        loss.backward()
        rec.log({"other": 1.0})
        assert rec._program_plug._task is None
        optimizer.step()
        assert rec._program_plug._task is not None


def test_where_no_step_ever_ends_the_next_row_is_the_moment(tmp_path, monkeypatch):
    """Such as that of an optimizer which is compiled, whose hooks are not called."""
    monkeypatch.setattr("explorer.recording.program.first_batch.MAX_FORWARDS", 3)
    model = mlp()
    with start(tmp_path) as rec:
        rec.watch(model, sgd(model))
        for number in range(4):
            model(torch.randn(3, 4))
            assert rec._program_plug._task is None
            if number < 3:
                rec.log({"loss": 1.0})
        rec.log({"loss": 1.0})
        assert rec._program_plug._task is not None
    assert len(open_run(rec.path).scalars()) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_that_uses_the_model_captures_nothing(tmp_path):
    model = mlp()
    optimizer = sgd(model)
    with start(tmp_path) as rec:
        rec.watch(model, optimizer)
        child = os.fork()
        if not child:
            step(model, optimizer, torch.randn(3, 4))
            os._exit(0 if rec._program_plug._first_batch._held is None and rec._program_plug._task is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        step(model, optimizer, torch.randn(3, 4))
    assert open_run(rec.path).program is not None


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
