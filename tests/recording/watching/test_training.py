"""What is recorded of a training, against autograd, numpy and the training's own tensors."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Every
from explorer.storage import records


def state_of(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def optimizers():
    yield "sgd", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01)
    yield "adamw", lambda p: torch.optim.AdamW(p, lr=0.01)
    yield "fused adamw", lambda p: torch.optim.AdamW(p, lr=0.01, fused=True)


@pytest.mark.parametrize("make", [make for _, make in optimizers()], ids=[name for name, _ in optimizers()])
def test_a_training_is_bit_for_bit_the_same(record, train, mlp, make):
    plain, watched = mlp(), mlp()
    torch.manual_seed(3)
    losses = train(plain, make(plain.parameters()), 30)
    state = torch.get_rng_state()
    recorder, optimizer = record(), make(watched.parameters())
    torch.manual_seed(3)
    recorder.watch(watched, optimizer, schedule=Every(2))
    assert train(watched, optimizer, 30) == losses
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_a_parameters_row_is_its_value_after_the_step_and_the_true_update(record, train, mlp, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    initial, before, after = state_of(model), {}, {}
    recorder.watch(model, optimizer, schedule=Every(1))
    optimizer.register_step_pre_hook(lambda *_: before.update({len(before): state_of(model)}))
    optimizer.register_step_post_hook(lambda *_: after.update({len(after): state_of(model)}))
    train(model, optimizer, 6)
    recorder.close()
    rows, updates = rows_of_kind(recorder, "param"), rows_of_kind(recorder, "update")
    assert {step for step, _ in rows} == set(range(6))
    assert {name for _, name in rows} == {name for name, _ in model.named_parameters()}
    for (step, name), row in rows.items():
        new, old = after[step][name].double().numpy(), before[step][name].double().numpy()
        moved = np.linalg.norm(new - old)
        assert row["n"] == new.size
        assert (row["min"], row["max"]) == (new.min(), new.max())
        assert row["mean"] == pytest.approx(new.mean(), rel=1e-6, abs=1e-9)
        assert row["std"] == pytest.approx(new.std(), rel=1e-6)
        assert row["norm"] == pytest.approx(np.linalg.norm(new), rel=1e-6)
        assert row["update_norm"] == pytest.approx(moved, rel=1e-5)
        if np.linalg.norm(old) > 0:
            assert row["update_ratio"] == pytest.approx(moved / np.linalg.norm(old), rel=1e-5)
        else:
            assert row["update_ratio"] is None
        first = initial[name].double().numpy().ravel()
        if np.linalg.norm(first) > 0:
            cosine = new.ravel() @ first / np.linalg.norm(new) / np.linalg.norm(first)
            assert row["cosine_init"] == pytest.approx(cosine, abs=1e-6)
        assert sum(row["counts"]) == new.size
        update = updates[step, name]
        assert update["norm"] == pytest.approx(moved, rel=1e-5)
        assert update["mean"] == pytest.approx((new - old).mean(), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("kinds", [("param", "grad", "update"), ("param", "grad")])
def test_a_step_that_makes_weights_nan_is_seen_in_ratio_and_angle(record, train, mlp, rows_of_kind, kinds):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1), kinds=kinds)
    train(model, optimizer, 2)
    handle = model[0].weight.register_hook(lambda grad: grad * torch.nan)
    train(model, optimizer, 1)
    handle.remove()
    train(model, optimizer, 1)
    recorder.close()
    rows, gradients = rows_of_kind(recorder, "param"), rows_of_kind(recorder, "grad")
    assert rows[1, "0.weight"]["update_ratio"] > 0
    assert rows[1, "0.weight"]["cosine_init"] > 0
    for step in (2, 3):
        assert rows[step, "0.weight"]["nans"] > 0
        for column in ("update_norm", "update_ratio", "cosine_init"):
            assert np.isnan(rows[step, "0.weight"][column]), (step, column)
    assert np.isnan(gradients[2, "0.weight"]["cosine_previous"])


def test_plain_gradient_descent_has_the_ratio_of_the_textbook(record, train, mlp, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 5)
    recorder.close()
    rows, gradients = rows_of_kind(recorder, "param"), rows_of_kind(recorder, "grad")
    for step in range(1, 5):
        for name in ("0.weight", "1.weight", "4.weight", "4.bias"):  # a bias before a normalisation has no gradient
            expected = 0.1 * gradients[step, name]["norm"] / rows[step - 1, name]["norm"]
            assert rows[step, name]["update_ratio"] == pytest.approx(expected, rel=1e-3)


def test_a_gradients_row_is_what_the_step_uses(record, train, mlp, rows_of_kind, metrics_of):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    raw, final = {}, {}

    def clip(step):
        raw[step] = {name: p.grad.clone() for name, p in model.named_parameters()}
        nn.utils.clip_grad_norm_(model.parameters(), 0.05 if step % 2 else 1e6)
        final[step] = {name: p.grad.clone() for name, p in model.named_parameters()}

    train(model, optimizer, 6, after=clip)
    recorder.close()
    rows, metrics = rows_of_kind(recorder, "grad"), metrics_of(recorder)
    for (step, name), row in rows.items():
        truth = final[step][name].double().numpy()
        assert row["norm"] == pytest.approx(np.linalg.norm(truth), rel=1e-5)
        assert (row["min"], row["max"]) == (truth.min(), truth.max())
        if step:
            last = final[step - 1][name].double().numpy().ravel()
            cosine = truth.ravel() @ last / np.linalg.norm(truth) / np.linalg.norm(last)
            assert row["cosine_previous"] == pytest.approx(cosine, abs=1e-6)
        else:
            assert row["cosine_previous"] is None
    for step in range(6):
        before = torch.cat([g.flatten() for g in raw[step].values()]).norm().item()
        after = torch.cat([g.flatten() for g in final[step].values()]).norm().item()
        assert metrics[step]["watch/grad_norm_before_clipping"] == pytest.approx(before, rel=1e-5)
        assert metrics[step]["watch/grad_norm"] == pytest.approx(after, rel=1e-5)
        assert metrics[step]["watch/clipped"] == float(step % 2)


def test_the_gradient_of_the_step_before_a_look_is_compared_with_too(record, train, mlp, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(4))
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(model[0].weight.grad.clone()))
    train(model, optimizer, 9)
    recorder.close()
    rows = rows_of_kind(recorder, "grad")
    assert {step for step, _ in rows} == {0, 4, 8}
    for step in (4, 8):
        expected = nn.functional.cosine_similarity(seen[step].flatten(), seen[step - 1].flatten(), dim=0)
        assert rows[step, "0.weight"]["cosine_previous"] == pytest.approx(expected.item(), abs=1e-5)


def test_outputs_are_those_of_all_training_forwards_of_the_step(record, mlp, rows_of_kind, record_of_model):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1), include=["0", "2", "4"], kinds="activation")
    outputs = {}

    def keep(module, inputs, output):
        counts = torch.is_grad_enabled() and model.training
        outputs.setdefault((step, places[module]), []).append((output.detach().clone(), counts))

    places = {model[place]: place for place in (0, 2, 4)}
    for module in places:
        module.register_forward_hook(keep)
    for step in range(3):  # noqa: B007 - the hooks read it
        for _ in range(2):  # micro-batches
            model(torch.randn(16, 8)).square().mean().backward()
        with torch.no_grad():
            model(torch.randn(99, 8))
        model.eval()
        model(torch.randn(77, 8))
        model.train()
        optimizer.step()
    recorder.close()
    rows = rows_of_kind(recorder, "activation")
    assert set(rows) == {(step, str(place)) for step in range(3) for place in (0, 2, 4)}
    for (step, name), row in rows.items():
        truth = torch.cat([o for o, counts in outputs[step, int(name)] if counts]).double().numpy()
        assert row["n"] == truth.size == 32 * truth.shape[1]
        assert row["zeros"] == (truth == 0).sum()
        assert row["mean"] == pytest.approx(truth.mean(), rel=1e-5, abs=1e-8)
        assert row["std"] == pytest.approx(truth.std(), rel=1e-5)
        assert row["units"] == truth.shape[1]
        assert row["dead_units"] == ((truth != 0).sum(0) < 0.01 * len(truth)).sum()
    entries = {entry["name"]: entry for entry in record_of_model(recorder)["tensors"]}
    assert [entries[name]["order"] for name in ("0", "2", "4")] == [0, 1, 2]
    assert entries["2"]["kinds"] == ["activation"]


def test_a_layer_that_never_changes_keeps_its_hash(record, train, mlp, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD([p for name, p in model.named_parameters() if not name.startswith("4")], lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 4)
    recorder.close()
    rows, gradients = rows_of_kind(recorder, "param"), rows_of_kind(recorder, "grad")
    hashes = {name: [rows[step, name]["hash"] for step in range(4)] for name, _ in model.named_parameters()}
    assert len(set(hashes["4.weight"])) == 1
    assert len(set(hashes["0.weight"])) == 4
    assert gradients[3, "4.weight"]["norm"] > 0
    assert rows[3, "4.weight"]["update_norm"] is None


def test_modes_tell_a_validation_that_was_run_in_training_mode(record, train, mlp, record_of_model):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))

    def validate(step):
        model.train(step >= 3)
        with torch.no_grad():
            model(torch.randn(4, 8))
        model.train()

    train(model, optimizer, 5, after=validate)
    recorder.close()
    modes = record_of_model(recorder)["modes"]
    assert set(modes["train"]) == set(modes["eval"]) == {"1", "3"}
    assert modes["train"]["3"] == [5, 0]
    assert modes["eval"]["3"] == [2, 3]


def test_times_leave_our_own_work_out(record, mlp, metrics_of, monkeypatch):
    import time

    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = recorder.watch(model, optimizer, schedule=Every(1))
    look = watch._look.end
    monkeypatch.setattr(watch._look, "end", lambda *a: (time.sleep(1.0), look(*a)))
    for _ in range(3):
        time.sleep(0.03)  # the data loader
        loss = model(torch.randn(16, 8)).square().mean()
        time.sleep(0.02)
        loss.backward()
        optimizer.step()
    recorder.close()
    metrics = metrics_of(recorder)
    assert "watch/step_s" not in metrics[0]
    for step in (1, 2):
        assert 0.03 <= metrics[step]["watch/data_wait_s"] < 0.9
        assert 0.05 <= metrics[step]["watch/step_s"] < 0.9


def test_a_resumed_attempt_without_a_snapshot_does_not_know_the_initial_values(record, train, mlp, rows_of_kind):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = record(run_id="again")
    first.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 2)
    first.close()
    second = record(run_id="again", resume="must")
    second.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 2)
    second.close()
    rows = rows_of_kind(second, "param")
    assert {row["cosine_init"] is None for (step, _), row in rows.items() if step >= 2} == {True}
    assert any(row["cosine_init"] is not None for (step, _), row in rows.items() if step < 2)
    said = [records.read_record(path)["initial"] for path in sorted((second.path / "model").iterdir())]
    assert said[0] is None
    assert "there is no snapshot" in said[1]


@pytest.mark.parametrize("prefix", ["", "student"])
def test_a_resumed_attempt_takes_the_initial_values_from_the_first_snapshot(
    record, train, mlp, rows_of_kind, record_of_model, prefix
):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    first = record(run_id="first-snapshot")
    first.snapshot(model, 0)
    initial = {name: value.detach().double().clone() for name, value in model.named_parameters()}
    first.log({"loss": 1.0}, step=4)
    train(model, optimizer, 5)
    first.snapshot(model, 4)
    first.close()
    second = record(run_id="first-snapshot", resume="must")
    second.watch(model, optimizer, schedule=Every(1), prefix=prefix)
    train(model, optimizer, 1)
    second.close()
    rows = rows_of_kind(second, "param")
    for name, value in model.named_parameters():
        truth = torch.cosine_similarity(value.detach().double().flatten(), initial[name].flatten(), dim=0).item()
        found = rows[5, f"{prefix}.{name}" if prefix else name]["cosine_init"]
        assert found == (pytest.approx(truth, abs=1e-6) if initial[name].any() else None)
    assert rows[5, f"{prefix}.0.weight" if prefix else "0.weight"]["cosine_init"] < 1 - 1e-6
    assert record_of_model(second)["initial"] == "the snapshot of step 0"  # the first attempt has watched nothing


def test_a_first_snapshot_that_is_damaged_is_said_and_costs_nothing_else(
    record, train, mlp, rows_of_kind, record_of_model
):
    model, first = mlp(), record(run_id="damaged")
    first.snapshot(model, 0)
    first.log({"loss": 1.0}, step=4)
    first.close()
    (path,) = (first.path / "params").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    second = record(run_id="damaged", resume="must")
    second.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 1)
    second.close()
    assert all(row["cosine_init"] is None for row in rows_of_kind(second, "param").values())
    assert "could not be read" in record_of_model(second)["initial"]


def test_the_default_schedule_goes_on_where_a_resumed_run_stopped(record, train, mlp, rows_of_kind):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = record(run_id="resumed")
    first.watch(model, optimizer)
    train(model, optimizer, 30, after=lambda step: first.log({"loss": 1.0}, step=step))
    first.close()
    second = record(run_id="resumed", resume="must")
    second.watch(model, optimizer)
    train(model, optimizer, 30, after=lambda step: second.log({"loss": 1.0}, step=30 + step))
    second.close()
    steps = {step for step, name in rows_of_kind(second, "param") if name == "0.weight"}
    assert steps == {*range(20), 30, 50}


def test_what_is_logged_without_a_step_keeps_its_numbers(record, train, mlp, metrics_of):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer)
    train(model, optimizer, 8, after=lambda step: recorder.log({"number": float(step)}))
    recorder.close()
    metrics = metrics_of(recorder)
    assert {step: row["number"] for step, row in metrics.items()} == {n: float(n) for n in range(8)}
    assert all("watch/grad_norm" in row for row in metrics.values())


def test_the_cost_is_counted(record, train, mlp):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    before = recorder.overhead["sampling_s"]
    train(model, optimizer, 5)
    assert recorder.overhead["sampling_s"] > before


def test_only_chosen_kinds_and_names_are_recorded(record, train, mlp, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, kinds=("param", "grad"), include="*.weight", exclude=["4.*"])
    train(model, optimizer, 2)
    recorder.close()
    assert {name for _, name in rows_of_kind(recorder, "param")} == {"0.weight", "1.weight"}
    assert {name for _, name in rows_of_kind(recorder, "grad")} == {"0.weight", "1.weight"}
    assert not rows_of_kind(recorder, "update")
    assert not rows_of_kind(recorder, "activation")


def test_the_ratio_of_up_to_65536_values_is_exact_without_the_kind_update(record, rows_of_kind):
    torch.manual_seed(0)
    model = nn.Linear(256, 256)
    recorder, optimizer = record(), torch.optim.Adam(model.parameters(), lr=1e-3)
    recorder.watch(model, optimizer, kinds=("param",))
    model(torch.randn(8, 256)).square().mean().backward()
    old = model.weight.detach().double()
    optimizer.step()
    recorder.close()
    row = rows_of_kind(recorder, "param")[0, "weight"]
    assert row["update_norm"] == pytest.approx((model.weight.double() - old).norm().item(), rel=1e-5)
    assert row["update_ratio"] == pytest.approx(row["update_norm"] / old.norm().item(), rel=1e-6)


def test_without_whole_copies_the_ratio_comes_from_a_sample(record, rows_of_kind, record_of_model):
    torch.manual_seed(0)
    truth = {}
    for kinds, limit in ((("param",), 2**30), (("param", "update"), 1000)):
        model = nn.Linear(500, 400)
        recorder, optimizer = record(), torch.optim.Adam(model.parameters(), lr=1e-3)
        recorder.watch(model, optimizer, kinds=kinds, max_copy_bytes=limit)
        model(torch.randn(8, 500)).square().mean().backward()
        old = model.weight.detach().clone()
        optimizer.step()
        recorder.close()
        truth = ((model.weight - old).norm() / old.norm()).item()
        row = rows_of_kind(recorder, "param")[0, "weight"]
        assert row["update_ratio"] == pytest.approx(truth, rel=0.03)
        assert row["update_norm"] == pytest.approx((model.weight - old).norm().item(), rel=0.03)
        assert (0, "weight") not in rows_of_kind(recorder, "update")
    assert (0, "bias") in rows_of_kind(recorder, "update")
    assert {entry["name"]: entry["kind"] for entry in record_of_model(recorder)["skipped"]} == {"weight": "update"}


def test_a_copy_of_the_model_made_meanwhile_is_an_ordinary_model(record, train, mlp):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 2)
    twin = copy.deepcopy(model)
    train(twin, torch.optim.SGD(twin.parameters(), lr=0.1), 2)
    assert torch.equal(twin(torch.ones(3, 8)), twin(torch.ones(3, 8))) is False  # dropout is alive
    recorder.close()
