"""Everything that can stand between a backward and a change of the parameters."""

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Every


def linear():
    torch.manual_seed(0)
    return nn.Linear(8, 3)


def test_accumulated_gradients_are_one_step(record, rows_of_kind, metrics_of):
    model, recorder = linear(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    norms = []
    for _ in range(3):
        optimizer.zero_grad()
        for _ in range(4):
            (model(torch.randn(5, 8)).square().mean() / 4).backward()
        norms.append(nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
        optimizer.step()
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "grad")} == {0, 1, 2}
    metrics = metrics_of(recorder)
    for step in range(3):
        assert metrics[step]["watch/grad_norm_before_clipping"] == pytest.approx(norms[step], rel=1e-5)
        assert metrics[step]["watch/clipped"] == 0.0


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip", [False, True])
def test_a_scaled_loss_is_told_from_a_clipped_gradient(record, rows_of_kind, metrics_of, fused, clip):
    model, recorder = linear(), record()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder.watch(model, optimizer, schedule=Every(1), scaler=scaler)
    truths, finals = [], []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(5, 8)).square().mean()
        truth = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        truths.append(nn.utils.get_total_norm(truth).item())
        finals.append(min(0.01, truths[-1]) if clip else truths[-1])
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        scaler.step(optimizer)
        scaler.update()
    recorder.close()
    metrics, rows = metrics_of(recorder), rows_of_kind(recorder, "grad")
    for step in range(3):
        assert metrics[step]["watch/grad_norm_before_clipping"] == pytest.approx(truths[step], rel=1e-4)
        assert metrics[step]["watch/grad_norm"] == pytest.approx(finals[step], rel=1e-3)
        assert metrics[step]["watch/clipped"] == float(clip)
        squares = sum(rows[step, name]["norm"] ** 2 for name in ("weight", "bias"))
        assert np.sqrt(squares) == pytest.approx(finals[step], rel=1e-3)


def test_steps_that_a_scaler_skips_are_caught_up_with(record, rows_of_kind):
    model, recorder = linear(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder.watch(model, optimizer, schedule=Every(1), scaler=scaler)
    for step in range(8):
        optimizer.zero_grad()
        loss = model(torch.randn(5, 8)).square().mean() * (torch.inf if step in (2, 3) else 1.0)
        recorder.log({"loss": loss.item()}, step=step)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == {0, 1, 4, 5, 6, 7}


def test_a_gradient_that_is_not_finite_has_a_norm_that_says_so(record, rows_of_kind, metrics_of):
    model, recorder = linear(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer)
    model(torch.full((2, 8), torch.nan)).sum().backward()
    optimizer.step()
    recorder.close()
    metrics = metrics_of(recorder)[0]
    assert np.isnan(metrics["watch/grad_norm"])
    assert "watch/clipped" not in metrics
    row = rows_of_kind(recorder, "param")[0, "weight"]
    assert row["nans"] == 24
    assert np.isnan(row["update_norm"])


def test_several_optimizers_take_turns(record, rows_of_kind, metrics_of):
    model = nn.ModuleDict({"critic": nn.Linear(4, 4), "actor": nn.Linear(4, 4)})
    recorder = record()
    one, two = (torch.optim.SGD(model[name].parameters(), lr=0.1) for name in ("critic", "actor"))
    recorder.watch(model, [one, two], schedule=Every(2))
    for step in range(9):
        for name, optimizer in (("critic", one), ("actor", two)):
            if name == "critic" or step % 4 == 3:
                optimizer.zero_grad()
                model[name](torch.randn(3, 4)).square().mean().backward()
                optimizer.step()
    recorder.close()
    rows = rows_of_kind(recorder, "param")
    assert {step for step, name in rows if name == "critic.weight"} == {0, 2, 4, 6, 8}
    assert {step for step, name in rows if name == "actor.weight"} == {3, 7}
    assert all(row["update_norm"] > 0 for row in rows.values())
    assert metrics_of(recorder)[3]["watch/optimizer_1/grad_norm"] > 0


def test_gradients_of_a_closure_are_read_after_the_step(record, rows_of_kind, metrics_of):
    model, recorder = linear(), record()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    inputs, targets = torch.randn(20, 8), torch.randn(20, 3)
    recorder.watch(model, optimizer, schedule=Every(1))

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        return loss

    norms = []
    for _ in range(3):
        optimizer.step(closure)
        norms.append(nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
    recorder.close()
    rows, metrics = rows_of_kind(recorder, "param"), metrics_of(recorder)
    assert {step for step, _ in rows} == {0, 1, 2}
    assert all(row["update_norm"] > 0 for row in rows.values())
    for step in range(3):
        assert metrics[step]["watch/grad_norm"] == pytest.approx(norms[step], rel=1e-5)
    assert rows_of_kind(recorder, "activation")[1, "model"]["n"] % 60 == 0


def test_an_optimizer_in_a_wrapper_is_found(record, rows_of_kind):
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model, recorder = linear(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, Wrapper(optimizer))
    model(torch.randn(2, 8)).sum().backward()
    optimizer.step()
    recorder.close()
    assert rows_of_kind(recorder, "param")


def test_a_schedule_of_learning_rates_and_a_loaded_state_change_nothing(record, mlp, train, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 3, after=lambda step: step and scheduler.step())
    optimizer.load_state_dict(optimizer.state_dict())
    model.load_state_dict(model.state_dict())
    train(model, optimizer, 2)
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == set(range(5))


def test_the_number_of_the_step_can_be_the_trainings_own(record, mlp, train, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    numbers = iter(range(1000, 2000, 10))
    recorder.watch(model, optimizer, schedule=Every(20), step=lambda: next(numbers))
    train(model, optimizer, 5)
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == {1000, 1020, 1040}
