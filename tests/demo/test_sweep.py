import io
import math
import re

import pytest

from explorer import list_runs, open_run
from explorer.demo import record_demo
from explorer.demo.progress import Progress
from explorer.demo.sweep import SWEEP, shortened


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The demo in its short form: root, run ids in order, and what it printed."""
    root = tmp_path_factory.mktemp("demo")
    printed = io.StringIO()
    total = sum(shortened(training).settings.num_epochs for training in SWEEP)
    run_ids = record_demo(root, quick=True, progress=Progress(total, printed))
    return root, run_ids, printed.getvalue()


def run_named(recorded, name):
    return next(run for run in list_runs(recorded[0]) if run.name == name)


def test_every_training_of_the_sweep_is_one_run(recorded):
    root, run_ids, _ = recorded
    runs = {run.run_id: run for run in list_runs(root)}
    assert [runs[run_id].name for run_id in run_ids] == [training.name for training in SWEEP]
    assert len(runs) == len(SWEEP)


def test_the_sweep_has_groups_seeds_and_tags(recorded):
    runs = list_runs(recorded[0])
    assert {run.group for run in runs} >= {"cnn", "cnn-wide", "mlp"}
    assert {run.config["seed"] for run in runs if run.group == "cnn"} == {0, 1, 2}
    assert run_named(recorded, "digits-cnn-few-images").tags == ("overfits",)


def test_a_healthy_training_learns(recorded):
    run = run_named(recorded, "digits-mlp")
    assert run.state == "finished"
    assert run.metrics["val/accuracy"].last > 0.5
    assert run.config["num_parameters"] > 1000


def test_the_learning_rate_far_too_high_ends_in_nan_and_in_a_failed_run(recorded):
    run = run_named(recorded, "digits-mlp-lr-too-high")
    assert run.state == "failed"
    assert run.error.type == "FloatingPointError"
    assert "lr=1.0 is too high" in run.error.message
    assert run.metrics["train/loss"].num_nan >= 22


def test_the_killed_training_goes_on_in_the_same_run(recorded):
    run = open_run(run_named(recorded, "digits-cnn-resumed").path)
    assert run.info.state == "finished"
    assert run.info.num_attempts == 2
    assert run.info.tags == ("resumed",)
    loss = run.scalars("train/loss")
    assert loss["step"].tolist() == list(range(4 * 22))
    assert loss["train/loss"].notna().all()


def test_the_transformer_learns_to_continue_text(recorded):
    run = open_run(run_named(recorded, "text-transformer").path)
    loss = run.scalars("val/loss")["val/loss"]
    assert run.info.state == "finished"
    assert loss.iloc[-1] < 2.7 < math.log(103)  # guessing among 103 letters


@pytest.mark.parametrize("name", ["digits-cnn", "digits-mlp", "text-transformer", "digits-cnn-resumed"])
def test_every_layer_is_looked_into(recorded, name):
    run = open_run(run_named(recorded, name).path)
    table = run.tensors()
    assert {"param", "grad", "update", "activation"} <= set(table["kind"])
    weights = {entry.name for entry in run.snapshot(max(found.step for found in run.snapshots)).entries.values()}
    assert set(table.loc[table["kind"] == "param", "name"]) <= weights
    assert (table.loc[table["kind"] == "param", "nans"] == 0).all()


def test_snapshots_hold_what_was_measured(recorded):
    run = open_run(run_named(recorded, "digits-mlp").path)
    measured = run.tensors("param").query("name == 'head.weight'").set_index("step")["norm"]
    steps = [found.step for found in run.snapshots]
    assert steps[-1] == run.info.last_step
    shared = [step for step in steps if step in measured.index]
    assert len(shared) >= 5, (steps, list(measured.index))
    for step in shared:
        value = run.snapshot(step).read("head.weight").astype(float)
        assert math.sqrt((value**2).sum()) == pytest.approx(measured[step], rel=1e-9)


def test_what_it_prints_can_be_followed_line_by_line(recorded):
    lines = recorded[2].splitlines()
    percents = [int(match[1]) for line in lines if (match := re.match(r" *(\d+)%  \S", line))]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert "Recorded 12 runs" in lines[-1]


def test_a_terminal_gets_one_line_that_changes():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    progress = Progress(4, terminal)
    progress.show("half", 2)
    progress.note("done")
    assert terminal.getvalue() == f"\r\x1b[2K{'█' * 14}{'░' * 14}  50%  half\r\x1b[2Kdone\n"
