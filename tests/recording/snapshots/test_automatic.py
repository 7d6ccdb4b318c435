"""Snapshots by policy in real trainings."""

import pytest
import torch
from torch import nn

from explorer.errors import RecorderWarning, UsageError


@pytest.fixture
def model():
    return nn.Linear(64, 64)


def steps_of(snapshot_files, rec):
    """The steps whose snapshot was not dropped."""
    return [step for step, (meta, _) in snapshot_files(rec.path).items() if not meta.get("dropped")]


def change(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1


def test_the_loop_asks_and_the_policy_says_when(record, snapshot_files, model):
    rec = record()
    automatic = rec.snapshots(model, every=10, log_spaced=True)
    assert [step for step in range(26) if automatic.step(step)] == [0, 1, 2, 5, 10, 20]
    rec.close()
    assert steps_of(snapshot_files, rec) == [0, 1, 2, 5, 10, 20]


def test_without_a_number_the_step_is_that_of_the_newest_row(record, snapshot_files, model):
    rec = record()
    automatic = rec.snapshots(model, every=2)
    for _ in range(5):
        rec.log({"loss": 1.0})
        automatic.step()
    rec.close()
    assert steps_of(snapshot_files, rec) == [0, 2, 4]


def test_the_first_the_last_two_and_the_best_stay(record, snapshot_files, tensors_of, model, summary_of, written):
    rec = record()
    automatic = rec.snapshots(model, every=5, best=("val/accuracy", "max"), keep_last=2)
    truth = {}
    for step in range(41):
        change(model)
        rec.log({"train/loss": 1.0 / (step + 1)}, step=step)
        if step % 4 == 3:
            rec.log({"val/accuracy": 0.9 if step == 19 else 0.001 * step}, step=step)
        if automatic.step(step):
            truth[step] = {name: tensor.detach().numpy().tobytes() for name, tensor in model.named_parameters()}
            written(rec)
    rec.close()
    assert set(truth) == {0, 3, 5, 7, 10, 11, 15, 19, 20, 25, 30, 35, 40}
    assert steps_of(snapshot_files, rec) == [0, 19, 35, 40]
    assert tensors_of(rec.path) == {step: truth[step] for step in (0, 19, 35, 40)}
    assert summary_of(rec)["snapshots"]["dropped"] == 9


@pytest.mark.parametrize("value", [0.5, 1, True, torch.tensor(0.5)], ids=["float", "int", "bool", "tensor"])
def test_the_best_is_noticed_whatever_kind_of_number_is_logged(record, model, value):
    rec = record()
    rec.log({"val": 0.0}, step=0)  # these names go the short way from now on, until somebody listens
    rec.log({"val": 0.0}, step=1)
    automatic = rec.snapshots(model, best=("val", "max"))
    assert not automatic.step(1)
    rec.log({"val": value}, step=2)
    assert automatic.step(2)
    rec.log({"val": value}, step=3)
    assert not automatic.step(3)
    rec.log({"loss": 1.0, "val": 5.0}, step=4)
    assert automatic.step(4)


def test_rows_of_a_metric_that_is_listened_to_are_recorded_as_ever(record, rows_of, model):
    rec = record()
    rec.snapshots(model, best=("val", "min"))
    for step in range(3_000):
        rec.log({"loss": float(step), "val": -float(step)} if step % 2 else {"loss": float(step)}, step=step)
    rec.close()
    expected = [{"loss": float(n), "val": -float(n)} if n % 2 else {"loss": float(n)} for n in range(3_000)]
    assert [row for _, _, _, row in sorted(rows_of(rec.path), key=lambda row: row[2])] == expected


def test_the_lowest_loss_is_the_best_when_the_lowest_is_asked_for(record, model):
    rec = record()
    automatic = rec.snapshots(model, best=("loss", "min"))
    taken = []
    for step, loss in enumerate([3.0, 2.0, float("nan"), 2.5, 1.0]):
        rec.log({"loss": loss}, step=step)
        taken.append(automatic.step(step))
    assert taken == [True, True, False, False, True]


def test_after_an_optimizer_nobody_needs_to_ask(record, tensors_of, written):
    rec, model = record(), nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rec.snapshots(model, every=3, best=("val", "max"), after=optimizer)
    truth = {}
    for step in range(8):
        optimizer.zero_grad()
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        truth[step] = {name: tensor.detach().numpy().tobytes() for name, tensor in model.named_parameters()}
        rec.log({"loss": 1.0}, step=step)
        if step == 4:
            rec.log({"val": 1.0}, step=step)
    rec.close()
    assert tensors_of(rec.path) == {step: truth[step] for step in (0, 3, 4, 6)}


def test_after_close_the_optimizer_is_let_go(record, model):
    rec = record()
    optimizer = torch.optim.SGD(model.parameters())
    rec.snapshots(model, every=1, best=("x", "max"), after=optimizer)
    assert len(optimizer._optimizer_step_post_hooks) == len(optimizer._optimizer_step_pre_hooks) == 1
    rec.close()
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_a_resumed_run_counts_on(record, snapshot_files, model):
    first = record(run_id="again")
    first.log({"loss": 1.0}, step=7)
    first.close()
    rec = record(run_id="again", resume="must")
    optimizer = torch.optim.SGD(model.parameters())
    rec.snapshots(model, every=10, after=optimizer)
    for _ in range(5):
        optimizer.step()
    rec.close()
    assert list(snapshot_files(rec.path, "0002-00000.parquet")) == [10]


def test_a_budget_holds_for_all_snapshots_of_the_rank(record, snapshot_files, model, written):
    rec = record(run_id="budget")
    rec.snapshot(model, 10**6)
    rec.close()
    size = sum(file.stat().st_size for file in rec.path.glob("params/*/*"))
    rec = record(run_id="budget", resume="must")
    rec.snapshot(model, 999_999)  # of one's own, which stays
    automatic = rec.snapshots(model, every=1, max_bytes=int(5.5 * size))
    for step in range(8):
        change(model)
        automatic.step(step)
        written(rec)
    rec.close()
    assert list(snapshot_files(rec.path)) == [10**6]
    assert steps_of(snapshot_files, rec) == [10**6]
    left = [step for step, (meta, _) in snapshot_files(rec.path, "0002-00000.parquet").items()]
    assert left == [0, 6, 7, 999_999]


def test_bytes_that_kept_snapshots_refer_to_survive_the_deletion(record, snapshot_files, tensors_of, written):
    rec = record()
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    automatic = rec.snapshots(model, every=1, keep_last=1)
    truth = {}
    for step in range(6):
        with torch.no_grad():
            model[1].weight += 1
            if step == 2:
                model[0].weight += 1  # its bytes are in the snapshot of step 2, which goes
        truth[step] = {name: tensor.detach().numpy().tobytes() for name, tensor in model.named_parameters()}
        automatic.step(step)
        written(rec)
    rec.close()
    assert steps_of(snapshot_files, rec) == [0, 5]
    assert tensors_of(rec.path) == {step: truth[step] for step in (0, 5)}


def test_what_a_deletion_had_to_leave_goes_when_nobody_refers_to_it_any_more(record, snapshot_files, model, written):
    rec = record()
    automatic = rec.snapshots(model, every=1, keep_last=1)
    for step in range(8):
        if step not in (3, 4):  # 3 and 4 refer to the bytes of 2
            change(model)
        automatic.step(step)
        written(rec)
        if step == 4:
            assert snapshot_files(rec.path)[2][0]["dropped"]
            assert list(snapshot_files(rec.path)[2][1]) == ["weight"]  # the bias is too small to be shared
    rec.close()
    assert list(snapshot_files(rec.path)) == [0, 7]


def test_a_step_that_the_user_saved_already_is_not_said_to_be_missing(record, model):
    rec = record()
    automatic = rec.snapshots(model, every=1)
    assert rec.snapshot(model, 3)
    assert not automatic.step(3)  # a warning would be an error here


def test_that_a_training_that_goes_back_keeps_its_first_snapshots_is_said(record, snapshot_files, model):
    rec = record()
    automatic = rec.snapshots(model, every=2)
    for step in (0, 1, 2, 3, 4, 5):
        automatic.step(step)
    with pytest.warns(RecorderWarning, match="the training went back to a step"):
        assert not automatic.step(2)
    assert not automatic.step(3)
    assert automatic.step(6)
    rec.close()
    assert steps_of(snapshot_files, rec) == [0, 2, 4, 6]


def test_two_policies_do_not_disturb_each_other(record, snapshot_files, written):
    rec, first, second = record(), nn.Linear(8, 8), nn.Linear(9, 9)
    short = rec.snapshots(first, every=2, keep_last=1)
    long = rec.snapshots(second, every=5, keep_last=1)
    for step in range(1, 20):
        short.step(step)
        if step != 10:
            long.step(step)
        written(rec)
    rec.close()
    assert steps_of(snapshot_files, rec) == [2, 5, 15, 18]


def test_that_a_second_model_gets_no_snapshot_of_a_step_is_said(record, summary_of):
    rec, generator, critic = record(), nn.Linear(8, 8), nn.Linear(9, 9)
    of_generator, of_critic = rec.snapshots(generator, every=2), rec.snapshots(critic, every=2)
    assert of_generator.step(2)
    with pytest.warns(RecorderWarning, match="another model.*ModuleDict"):
        assert not of_critic.step(2)
    rec.close()
    assert summary_of(rec)["snapshots"]["skipped"] == 1


def test_a_model_and_its_wrapper_are_one(record):
    rec, model = record(), nn.Linear(8, 8)
    rec.snapshot(nn.DataParallel(model), 2)
    assert not rec.snapshots(model, every=2).step(2)  # a warning would be an error here


def test_what_one_policy_calls_the_best_no_other_deletes(record, snapshot_files, model, written):
    rec = record()
    often, best = rec.snapshots(model, every=1, keep_last=2), rec.snapshots(model, best=("val", "max"))
    for step in range(9):
        change(model)
        rec.log({"val": {3: 5.0, 6: 7.0}.get(step, 0.0)}, step=step)
        often.step(step)
        best.step(step)
        written(rec)
        if step == 5:
            assert steps_of(snapshot_files, rec) == [0, 3, 4, 5]
    rec.close()
    assert steps_of(snapshot_files, rec) == [0, 6, 7, 8]


def test_what_the_user_asks_for_by_number_no_policy_deletes(record, snapshot_files, model, written):
    rec = record()
    automatic = rec.snapshots(model, every=1, keep_last=1)
    for step in range(6):
        change(model)
        automatic.step(step)
        if step == 3:
            with pytest.warns(RecorderWarning, match="there is one of this step already, which is kept"):
                assert not rec.snapshot(model, 3)
        written(rec)
    with pytest.warns(RecorderWarning, match="there was one of this step, which its policy has deleted"):
        assert not rec.snapshot(model, 2)
    rec.close()
    assert steps_of(snapshot_files, rec) == [0, 3, 5]


@pytest.mark.parametrize("by_itself", [True, False], ids=["after the optimizer", "in the loop"])
def test_the_best_of_the_last_validation_is_taken_though_no_step_follows(record, tensors_of, by_itself):
    rec, model = record(), nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    automatic = rec.snapshots(model, best=("val", "max"), after=optimizer if by_itself else None)
    for step in range(6):
        optimizer.zero_grad()
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        rec.log({"loss": 1.0}, step=step)
        if not by_itself:
            automatic.step(step)
    rec.log({"val": 1.0}, step=5)
    last = {name: tensor.detach().numpy().tobytes() for name, tensor in model.named_parameters()}
    rec.close()
    assert tensors_of(rec.path) == {5: last}


def test_a_training_that_fails_takes_no_best_of_a_model_that_may_be_half_updated(record, snapshot_files, model):
    rec = record()
    rec.snapshots(model, best=("val", "max"))
    rec.log({"val": 1.0}, step=5)
    rec.close(error=MemoryError("within a step"))
    assert not snapshot_files(rec.path)


def test_steps_that_a_grad_scaler_leaves_out_do_not_shift_the_numbers(record, snapshot_files):
    rec, model = record(), nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    rec.snapshots(model, every=10, after=optimizer)
    for step in range(31):
        optimizer.zero_grad()
        loss = model(torch.ones(1, 4)).sum()
        scaler.scale(loss * (float("inf") if 3 <= step < 8 else 1.0)).backward()
        rec.log({"loss": 1.0}, step=step)
        scaler.step(optimizer)
        scaler.update()
    rec.close()
    assert list(snapshot_files(rec.path)) == [0, 10, 20, 30]


def test_negative_steps_of_the_rows_never_reach_the_training_as_an_error(record, snapshot_files, model):
    rec = record()
    optimizer = torch.optim.SGD(model.parameters())
    rec.log({"loss": 1.0}, step=-3)
    rec.snapshots(model, every=1, after=optimizer)
    with pytest.warns(RecorderWarning, match="snapshots have no negative steps"):
        optimizer.step()
    for _ in range(3):
        optimizer.step()
    rec.close()
    assert list(snapshot_files(rec.path)) == [0, 1]


def test_a_metric_on_a_device_cannot_be_the_best_and_that_is_said(record, model, monkeypatch):
    rec = record()
    automatic = rec.snapshots(model, best=("val", "max"))
    monkeypatch.setattr("explorer.recording.values.is_on_device", lambda value: isinstance(value, torch.Tensor))
    with pytest.warns(RecorderWarning, match="the best 'val' is not known.*log a float"):
        rec.log({"val": torch.tensor(1.0)}, step=0)
    assert not automatic.step(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing says when"),
        ({"every": 1, "after": "adam"}, "after should be a torch.optim.Optimizer or None; found str"),
        ({"every": 1, "dtype": "int8"}, "dtype should be None"),
        ({"every": 1, "model": 3}, "model should be a torch.nn.Module; found int"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(record, model, arguments, message):
    with pytest.raises(UsageError, match=message):
        record().snapshots(**{"model": model} | arguments)


def test_a_negative_step_is_refused(record, model):
    with pytest.raises(UsageError, match="from 0 to"):
        record().snapshots(model, every=1).step(-1)
