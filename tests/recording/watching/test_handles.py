"""Watching begins and ends without a trace."""

import copy
import gc
import io
import os
import pickle
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from explorer import Every, Recorder, RecorderWarning, UsageError


def hooks_of(model, optimizer):
    modules = [
        len(hooks)
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    ]
    tensors = [len(p._post_accumulate_grad_hooks or {}) for p in model.parameters()]
    steps = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    return sum(modules), sum(tensors), *map(len, steps)


@pytest.fixture
def watched(record, mlp, train):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = record()
    handle = recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 3)
    assert hooks_of(model, optimizer)[0] > 1
    return model, optimizer, recorder, handle


def test_remove_takes_every_hook_off(watched):
    model, optimizer, _, handle = watched
    handle.remove()
    handle.remove()
    assert hooks_of(model, optimizer) == (0, 0, 0, 0)


def test_close_takes_every_hook_off(watched, train):
    model, optimizer, recorder, _ = watched
    recorder.close()
    assert hooks_of(model, optimizer) == (0, 0, 0, 0)
    train(model, optimizer, 2)


def test_between_looks_modules_carry_no_hooks(record, mlp, train):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(100))
    train(model, optimizer, 3)
    assert hooks_of(model, optimizer) == (1, 0, 1, 0)


def test_nothing_keeps_the_model_alive_after_the_recording(record, mlp, train):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 2)
    recorder.close()
    gone = weakref.ref(model)
    del model, optimizer, handle
    gc.collect()
    assert gone() is None


def test_a_model_can_be_copied_pickled_and_saved_while_it_is_watched(watched):
    model, _, _, _ = watched
    inputs = torch.randn(5, 8)
    model.eval()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies.append(torch.load(file, weights_only=False))
    for twin in copies:
        assert torch.equal(twin(inputs), model(inputs))
        assert twin(inputs).grad_fn is not None


def test_whoever_loads_a_saved_model_needs_nothing_of_ours(watched, tmp_path):
    model, optimizer, _, _ = watched
    torch.save({"model": model, "optimizer": optimizer}, tmp_path / "model.pt")
    code = (
        "import sys, torch\n"
        "sys.modules['explorer'] = None\n"
        f"loaded = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        "print(loaded['model'](torch.ones(2, 8)).shape[1], len(loaded['optimizer'].param_groups))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_records_nothing(watched, train, rows_of_kind):
    model, optimizer, recorder, _ = watched
    child = os.fork()
    if child == 0:
        try:
            train(model, optimizer, 5)
            recorder.watch(model, optimizer)
            recorder.log_labels([1, 2])
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    train(model, optimizer, 1)
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == {0, 1, 2, 3}
    assert not rows_of_kind(recorder, "labels")


def test_off_is_an_object(mlp, train, tmp_path):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder("off", root=tmp_path, enabled=False)
    handle = recorder.watch(model, optimizer)
    recorder.log_labels([1, 2])
    train(model, optimizer, 2)
    handle.remove()
    assert hooks_of(model, optimizer) == (0, 0, 0, 0)
    with pytest.raises(UsageError):
        recorder.watch("model")


def test_after_close_there_is_nothing_to_watch(record, mlp):
    recorder, model = record(), mlp()
    recorder.close()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer).remove()
    assert hooks_of(model, optimizer) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model should be a torch.nn.Module; found int"),
        ({"optimizer": "adam"}, "optimizer should be"),
        ({"kinds": "weights"}, "kinds should be some of param, grad, update, activation"),
        ({"kinds": ()}, "kinds should be some of"),
        ({"include": 3}, "include should be a pattern"),
        ({"exclude": [3]}, "exclude should hold patterns"),
        ({"schedule": "often"}, "schedule should be"),
        ({"schedule": 0}, "n should be an integer of at least 1"),
        ({"scaler": 65536.0}, "scaler should be a torch.amp.GradScaler"),
        ({"step": 5}, "step should be a function"),
        ({"prefix": None}, "prefix should be text"),
        ({"max_copy_bytes": "1 GB"}, "max_copy_bytes should be a number"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(record, mlp, arguments, message):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=message):
        record().watch(**{"model": model, "optimizer": optimizer} | arguments)
    assert hooks_of(model, optimizer) == (0, 0, 0, 0)


def test_two_models_need_two_prefixes(record, mlp, train, rows_of_kind, metrics_of):
    recorder, first, second = record(), mlp(), mlp()
    one, two = (torch.optim.SGD(model.parameters(), lr=0.1) for model in (first, second))
    handle = recorder.watch(first, one)
    with pytest.raises(UsageError, match="prefix="):
        recorder.watch(second, two)
    recorder.watch(second, two, prefix="teacher")
    train(first, one, 1)
    train(second, two, 1)
    handle.remove()
    recorder.watch(first, one, schedule=Every(1))
    recorder.close()
    names = {name for _, name in rows_of_kind(recorder, "param")}
    assert {"0.weight", "teacher.0.weight"} <= names
    assert {"watch/grad_norm", "watch/teacher/grad_norm"} <= set(metrics_of(recorder)[0])


def test_an_error_of_ours_costs_the_look_and_nothing_else(record, mlp, train, monkeypatch, summary_of):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = recorder.watch(model, optimizer, schedule=Every(1))
    monkeypatch.setattr(watch._look, "end", lambda *_: 1 / 0)
    with pytest.warns(RecorderWarning, match="a look into the model failed"):
        losses = train(model, optimizer, 3)
    plain = mlp()
    assert train(plain, torch.optim.SGD(plain.parameters(), lr=0.1), 3) == losses or len(losses) == 3
    recorder.close()
    assert summary_of(recorder)["watch"]["failed"] == 3


def test_a_full_disk_is_waited_out(record, mlp, train, rows_of_kind, monkeypatch):
    from explorer.storage.tensors import TensorSegments

    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    write, failures = TensorSegments._write, []

    def fail_once(self, batch, *, sealed):
        if not failures:
            failures.append(1)
            raise OSError(28, "No space left on device")
        write(self, batch, sealed=sealed)

    monkeypatch.setattr(TensorSegments, "_write", fail_once)

    def record_all():
        train(model, optimizer, 3)
        recorder.close()

    with pytest.warns(RecorderWarning, match="No space left"):
        record_all()
    assert len({step for step, _ in rows_of_kind(recorder, "param")}) == 3


def test_watching_never_imports_pandas(tmp_path):
    code = f"""
import sys, torch
from explorer import Recorder
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Recorder("t", root={str(tmp_path)!r}, quiet=True) as rec:
    rec.watch(model, optimizer)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    rec.log_labels([0, 1])
print("pandas" in sys.modules, "torch._dynamo" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split()[0] == "False"


def test_names_of_modules_called_module_are_kept():
    from explorer.recording.watching.naming import list_modules, list_parameters

    inner = nn.Sequential()
    inner.add_module("module", nn.Linear(2, 2))
    wrapped = nn.DataParallel(inner)
    names = [place.name for place in list_parameters(list_modules(wrapped))]
    assert names == ["module.weight", "module.bias"]


def test_a_step_that_is_not_looked_at_has_no_hook_behind_it(record, mlp, train):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = recorder.watch(model, optimizer, schedule=Every(4))
    behind = []
    train(model, optimizer, 9, after=lambda step: behind.append(len(optimizer._optimizer_step_post_hooks)))
    # Seen before each step: left there by the one before, if that or the next one was looked at.
    assert behind == [0, 1, 0, 0, 1, 1, 0, 0, 1]
    handle.remove()
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_a_trainer_that_holds_its_handles_is_copied_and_pickled(watched, train, rows_of_kind):
    model, optimizer, recorder, handle = watched
    automatic = recorder.snapshots(model, every=1)
    trainer = {"model": model, "handle": handle, "snapshots": automatic}
    copied = copy.deepcopy(trainer)
    assert (copied["handle"], copied["snapshots"]) == (handle, automatic)
    loaded = pickle.loads(pickle.dumps(trainer))
    loaded["handle"].remove()
    assert not loaded["snapshots"].step(1)
    assert torch.equal(loaded["model"][0].weight, model[0].weight)
    train(model, optimizer, 1)
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == {0, 1, 2, 3}


def test_models_that_come_one_after_the_other_are_let_go_while_the_recording_goes_on(record):
    recorder, gone = record(), []
    for fold in range(3):
        model = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        handle = recorder.watch(model, optimizer, schedule=Every(1), step=lambda fold=fold: fold)
        automatic = recorder.snapshots(model, every=1, optimizer=optimizer)
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        assert automatic.step(fold)
        handle.remove()
        automatic.close()
        gone.append(weakref.ref(model))
    del model, optimizer, handle, automatic
    task = next(task for task in recorder._writer.tasks if task.name == "watch")
    until = time.monotonic() + 20
    while task._waiting and time.monotonic() < until:
        time.sleep(0.01)
    gc.collect()
    assert [each() for each in gone] == [None] * 3


@pytest.fixture
def _short_stretches(monkeypatch):
    """Validations are watched for in the first 10 steps and in 2 of each 10 that follow."""
    monkeypatch.setattr("explorer.recording.watching.rounds._FIRST_STEPS", 10)
    monkeypatch.setattr("explorer.recording.watching.rounds._EVERY_STEPS", 10)
    monkeypatch.setattr("explorer.recording.watching.rounds._STEPS_EACH", 2)


@pytest.mark.usefixtures("_short_stretches")
@pytest.mark.parametrize("num_optimizers", [1, 2])
def test_the_model_has_a_hook_around_looks_early_and_now_and_then(record, mlp, num_optimizers):
    model, recorder = mlp(), record()
    parameters = list(model.parameters())
    optimizers = [torch.optim.SGD(parameters[part::num_optimizers], lr=0.1) for part in range(num_optimizers)]
    handle = recorder.watch(model, optimizers, schedule=Every(16), kinds="param", program=False)
    has_hook = []
    for _ in range(34):
        has_hook.append(bool(model._forward_pre_hooks))
        model(torch.randn(4, 8)).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    with_hook = {step for step, has in enumerate(has_hook) if has}
    # A look needs the step before and the one after, which a validation comes before.
    assert with_hook >= {*range(11), 11, 16, 17, 20, 21, 30, 31, 32, 33}
    assert not with_hook & {13, 14, 15, 18, 19, *range(23, 30)}
    handle.remove()
    assert not model._forward_pre_hooks


@pytest.mark.usefixtures("_short_stretches")
def test_validations_beside_looks_are_seen_when_the_hook_comes_and_goes(record, mlp, train, record_of_model):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(16), kinds="param")
    looked_at = []

    def validate(step):
        looked_at.append(bool(model._forward_pre_hooks))
        model.eval()
        with torch.no_grad():
            model(torch.randn(4, 8))
        model.train()

    for step in range(50):
        train(model, optimizer, 1)
        if step % 16 == 0:  # right after a look
            validate(step)
    recorder.close()
    assert looked_at == [True] * 4
    assert record_of_model(recorder)["modes"]["eval"]["3"] == [0, 4]


@pytest.mark.usefixtures("_short_stretches")
@pytest.mark.parametrize("how", ["wrapped before", "wrapped after", "in place"])
def test_a_compiled_model_is_not_compiled_again_when_the_hook_comes_and_goes(record, how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))
    compiled, watched = model, model
    if how == "in place":
        model.compile(backend="eager")
    elif how == "wrapped before":
        compiled = watched = torch.compile(model, backend="eager")
    recorder, optimizer = record(), torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(watched, optimizer, schedule=Every(16), kinds=("param", "grad"), program=False)
    if how == "wrapped after":
        compiled = torch.compile(model, backend="eager")
    num_hooks = set()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(34):
            num_hooks.add(len(watched._forward_pre_hooks))
            optimizer.zero_grad()
            compiled(torch.randn(4, 8)).sum().backward()
            optimizer.step()
    assert num_hooks == {0, 1}


def test_the_time_of_a_step_after_one_that_was_not_followed_is_not_told(record, mlp, train, metrics_of):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(100), kinds="param")
    train(model, optimizer, 5)
    recorder.log({"loss": 1.0}, step=200)  # the count jumps to a step that is looked at
    train(model, optimizer, 2)
    recorder.close()
    metrics = metrics_of(recorder)
    assert 200 in metrics
    assert not any(name.endswith(("step_s", "data_wait_s")) for name in metrics[200])
