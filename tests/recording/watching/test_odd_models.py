"""Models and set-ups that are not plain: each is recorded, or left out with a reason, and never harmed."""

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Every, RecorderWarning


def reasons(recorder, record_of_model):
    return {(entry["name"], entry["kind"]): entry["reason"] for entry in record_of_model(recorder)["skipped"]}


def test_tied_weights_are_recorded_once(record, rows_of_kind, record_of_model):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(30, 8), nn.Linear(8, 30, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens):
            return self.head(self.embed(tokens))

    model, recorder = Tied(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer)
    model(torch.arange(5)).sum().backward()
    optimizer.step()
    recorder.close()
    assert set(rows_of_kind(recorder, "param")) == {(0, "embed.weight")}
    entries = {entry["name"]: entry for entry in record_of_model(recorder)["tensors"]}
    assert entries["head.weight"]["tied_to"] == "embed.weight"
    assert entries["head.weight"]["kinds"] == []
    assert entries["embed.weight"]["tied_to"] is None


def test_a_parametrized_layer_is_watched_and_what_makes_its_weight_is_not(record, train, rows_of_kind):
    model, recorder = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), nn.ReLU()), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 2)
    recorder.close()
    rows = rows_of_kind(recorder, "activation")
    assert {name for _, name in rows} == {"0", "1"}
    assert rows[1, "0"]["n"] == 16 * 4
    originals = {"0.bias", "0.parametrizations.weight.original0", "0.parametrizations.weight.original1"}
    assert {name for _, name in rows_of_kind(recorder, "param")} == originals


def test_what_attention_gives_out_is_watched(record, rows_of_kind):
    model, recorder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer)
    seen = []
    model.self_attn.register_forward_hook(lambda module, inputs, output: seen.append(output[0].detach().double()))
    model(torch.randn(4, 5, 16)).square().mean().backward()
    optimizer.step()
    recorder.close()
    row = rows_of_kind(recorder, "activation")[0, "self_attn"]
    assert row["mean"] == pytest.approx(float(seen[0].mean()), rel=1e-5)
    assert (row["n"], row["units"]) == (4 * 5 * 16, 16)


def test_gradients_that_cannot_be_measured_cost_only_themselves(record, rows_of_kind, metrics_of):
    class PartlyMeta(nn.Module):
        def __init__(self):
            super().__init__()
            self.real, self.meta = nn.Linear(8, 8), nn.Linear(8, 8, device="meta")

        def forward(self, inputs):
            self.meta(torch.empty(2, 8, device="meta")).sum().backward()
            return self.real(inputs)

    model, recorder = PartlyMeta(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        recorder.watch(model, optimizer, schedule=Every(1), program=False)  # what has no values cannot be captured
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 8)).square().mean().backward()
            norm = float(torch.cat([p.grad.flatten() for p in model.real.parameters()]).norm())
            optimizer.step()
        recorder.close()
        return norm

    with pytest.warns(RecorderWarning, match="is not recorded: it is on the meta device") as warned:
        norm = train()
    assert not [each for each in warned if "failed" in str(each.message)]
    for kind in ("param", "grad", "update"):
        assert {name for step, name in rows_of_kind(recorder, kind) if step == 2} == {"real.weight", "real.bias"}
    found = metrics_of(recorder)[2]
    assert found["watch/grad_norm"] == pytest.approx(norm, rel=1e-6)
    assert found["watch/grad_norm_before_clipping"] == pytest.approx(norm, rel=1e-6)


def test_layers_that_are_unfrozen_and_parameters_that_are_added_are_found(
    record, train, mlp, rows_of_kind, record_of_model
):
    model, recorder = mlp(), record()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))

    def change(step):
        if step == 1:
            model[0].requires_grad_(True)
            optimizer.add_param_group({"params": model[0].parameters()})
        if step == 3:
            model.append(nn.Linear(4, 4))
            optimizer.add_param_group({"params": model[5].parameters()})

    train(model, optimizer, 6, after=change)
    recorder.close()
    rows, gradients = rows_of_kind(recorder, "param"), rows_of_kind(recorder, "grad")
    assert {step for step, name in rows if name == "0.weight"} == set(range(6))
    assert {step for step, name in gradients if name == "0.weight"} == {2, 3, 4, 5}
    assert {step for step, name in rows if name == "5.weight"} == {3, 4, 5}
    assert rows[3, "5.weight"]["cosine_init"] == pytest.approx(1.0)
    assert {step for step, name in rows_of_kind(recorder, "activation") if name == "5"} == {4, 5}
    entry = {entry["name"]: entry for entry in record_of_model(recorder)["tensors"]}["0.weight"]
    assert entry["trainable"]
    assert (entry["optimizer"], entry["lr_group"]) == (0, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_types(record, rows_of_kind, dtype):
    torch.manual_seed(0)
    model, recorder = nn.Linear(200, 100).to(dtype), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer)
    model(torch.randn(4, 200).to(dtype)).square().mean().backward()
    old = model.weight.detach().double().clone()
    optimizer.step()
    recorder.close()
    row = rows_of_kind(recorder, "param")[0, "weight"]
    new = model.weight.detach().double()
    assert row["max"] == new.max().item()
    assert row["std"] == pytest.approx(new.std(correction=0).item(), rel=1e-5)
    assert row["update_norm"] == pytest.approx((new - old).norm().item(), rel=1e-5)
    assert rows_of_kind(recorder, "grad")[0, "weight"]["norm"] == pytest.approx(
        model.weight.grad.double().norm().item(), rel=1e-5
    )
    assert rows_of_kind(recorder, "activation")[0, "model"]["n"] == 400


class Holder(nn.Module):
    """One parameter that is used, and whatever else."""

    def __init__(self, **parameters):
        super().__init__()
        self.used = nn.Parameter(torch.ones(4))
        for name, value in parameters.items():
            needs = value.is_floating_point() or value.is_complex()
            setattr(self, name, nn.Parameter(value, requires_grad=needs and value.device.type == "cpu"))

    def forward(self):
        return self.used.sum()


def step_once(recorder, model, **options):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad and not p.is_meta], lr=0.1)
    recorder.watch(model, optimizer, **options)
    model().backward()
    optimizer.step()


def test_parameters_that_hold_no_floats_are_left_out_with_a_reason(record, rows_of_kind, record_of_model):
    recorder = record()
    model = Holder(packed=torch.zeros(3, dtype=torch.uint8), flags=torch.zeros(3, dtype=torch.bool))
    model.lazy = nn.LazyLinear(3)
    model.register_parameter("far", nn.Parameter(torch.empty(3, device="meta")))
    model.register_buffer("count", torch.zeros((), dtype=torch.int64))
    with pytest.warns(RecorderWarning, match="is not recorded: it"):
        step_once(recorder, model)
    recorder.close()
    assert set(rows_of_kind(recorder, "param")) == {(0, "used")}
    found = reasons(recorder, record_of_model)
    assert found["packed", "param"] == "it holds uint8, no floating-point numbers"
    assert found["flags", "param"] == "it holds bool, no floating-point numbers"
    assert found["far", "param"] == "it is on the meta device, which holds no values"
    assert found["lazy.weight", "param"] == "it is not initialised yet"


def test_odd_shapes_and_values(record, rows_of_kind):
    recorder = record()
    model = Holder(
        empty=torch.empty(0, 3), one=torch.tensor(2.5), nan=torch.full((50,), torch.nan),
        complex=torch.complex(torch.tensor([3.0, 0.0]), torch.tensor([4.0, 1.0])),
        slanted=torch.arange(12.0).reshape(3, 4).t(), eight=torch.ones(5).to(torch.float8_e4m3fn),
        channels=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    )  # fmt: skip
    step_once(recorder, model)
    recorder.close()
    rows = {name: row for (_, name), row in rows_of_kind(recorder, "param").items()}
    assert (rows["empty"]["n"], rows["empty"]["counts"]) == (0, [])
    assert np.isnan(rows["empty"]["mean"])
    assert (rows["one"]["mean"], rows["one"]["std"], rows["one"]["n"]) == (2.5, 0.0, 1)
    assert (rows["nan"]["nans"], rows["nan"]["bins"]) == (50, [])
    assert np.isnan(rows["nan"]["cosine_init"])
    assert (rows["complex"]["n"], rows["complex"]["norm"]) == (4, pytest.approx(26**0.5))
    assert (rows["slanted"]["n"], rows["slanted"]["mean"]) == (12, 5.5)
    assert (rows["eight"]["n"], rows["eight"]["mean"]) == (5, 1.0)
    assert rows["channels"]["n"] == 120
    assert rows["channels"]["cosine_init"] == pytest.approx(1.0)


def test_a_sparse_gradient_counts_the_zeros_it_does_not_hold(record, rows_of_kind):
    torch.manual_seed(0)
    model, recorder = nn.Embedding(5_000, 4, sparse=True), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    for _ in range(2):
        optimizer.zero_grad()
        (model(torch.tensor([3, 3, 9])) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
        dense = model.weight.grad.to_dense()
        optimizer.step()
    recorder.close()
    row = rows_of_kind(recorder, "grad")[1, "weight"]
    truth = dense.double().numpy()
    assert (row["n"], row["zeros"], row["max"]) == (20_000, 20_000 - 8, 8.0)
    assert row["mean"] == pytest.approx(truth.mean())
    assert row["std"] == pytest.approx(truth.std())
    assert row["norm"] == pytest.approx(np.linalg.norm(truth))
    assert sum(row["counts"]) == 20_000


def test_a_model_without_parameters(record, record_of_model):
    recorder = record()
    recorder.watch(nn.Sequential(nn.ReLU(), nn.Flatten()))
    recorder.close()
    assert record_of_model(recorder)["tensors"] == []


def test_without_an_optimizer_training_forwards_are_counted(record, mlp, rows_of_kind, record_of_model):
    model, recorder = mlp(), record()
    recorder.watch(model, schedule=Every(2))
    for _ in range(5):
        model(torch.randn(16, 8)).sum().backward()
        with torch.no_grad():
            model(torch.randn(16, 8))
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == {0, 2, 4}
    assert {step for step, _ in rows_of_kind(recorder, "activation")} == {0, 2, 4}
    assert rows_of_kind(recorder, "activation")[2, "0"]["n"] == 16 * 24
    assert not rows_of_kind(recorder, "grad")
    assert reasons(recorder, record_of_model)["model", "grad"].startswith("no optimizer was given")


def test_an_optimizer_of_another_model_is_said(record, mlp):
    other = nn.Linear(2, 2)
    with pytest.warns(RecorderWarning, match="holds no parameter of the model"):
        record().watch(mlp(), torch.optim.SGD(other.parameters(), lr=0.1))


def test_modules_that_give_out_several_things(record, rows_of_kind, record_of_model):
    class Odd(nn.Module):
        def forward(self, x):
            return {"text": "no tensor", "parts": [None, (x * 2, x)]}

    class Nothing(nn.Module):
        def forward(self, x):
            return None

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.odd, self.nothing = nn.GRU(8, 6, batch_first=True), Odd(), Nothing()

        def forward(self, x):
            out, _ = self.gru(x)
            self.nothing(out)
            return self.odd(out)["parts"][1][0].sum()

    model, recorder = Both(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(RecorderWarning, match="its output holds no tensor"):
        train_once(recorder, model, optimizer)
    rows = rows_of_kind(recorder, "activation")
    assert {name for _, name in rows} == {"gru", "odd"}
    assert (rows[0, "gru"]["n"], rows[0, "gru"]["units"]) == (2 * 5 * 6, 6)
    assert reasons(recorder, record_of_model)["nothing", "activation"] == "its output holds no tensor"


def train_once(recorder, model, optimizer):
    recorder.watch(model, optimizer)
    model(torch.randn(2, 5, 8)).backward()
    optimizer.step()
    recorder.close()


def test_a_checkpointed_forward_counts_once(record, rows_of_kind):
    from torch.utils.checkpoint import checkpoint

    for reentrant in (False, True):
        recorder = record()
        block, head = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 1)

        class Net(nn.Module):
            def __init__(self, block, head, reentrant):
                super().__init__()
                self.block, self.head, self.reentrant = block, head, reentrant

            def forward(self, x):
                return self.head(checkpoint(self.block, x, use_reentrant=self.reentrant)).sum()

        model = Net(block, head, reentrant)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recorder.watch(model, optimizer)
        model(torch.randn(10, 8, requires_grad=True)).backward()
        optimizer.step()
        recorder.close()
        assert rows_of_kind(recorder, "activation")[0, "block.1"]["n"] == 80


@pytest.mark.parametrize("in_place", [False, True], ids=["wrapped", "in place"])
def test_a_compiled_model_has_plain_names_and_says_what_it_hides(record, rows_of_kind, record_of_model, in_place):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
    compiled = model
    if in_place:
        model.compile(backend="eager")
    else:
        compiled = torch.compile(model, backend="eager")
    recorder, optimizer = record(), torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(RecorderWarning, match="inside a compiled region"):
        recorder.watch(compiled, optimizer, schedule=Every(1))
    for _ in range(3):
        optimizer.zero_grad()
        compiled(torch.randn(4, 8)).sum().backward()
        optimizer.step()
    recorder.close()
    assert {name for _, name in rows_of_kind(recorder, "param")} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert not rows_of_kind(recorder, "activation")
    assert ("1", "activation") in reasons(recorder, record_of_model)


def test_a_model_compiled_after_it_is_watched_trains_as_before(record, rows_of_kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))
    recorder, optimizer = record(), torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(2))
    compiled = torch.compile(model, backend="eager")
    for _ in range(5):
        optimizer.zero_grad()
        compiled(torch.randn(4, 8)).sum().backward()
        optimizer.step()
    recorder.close()
    assert {step for step, _ in rows_of_kind(recorder, "param")} == {0, 2, 4}


def test_a_million_row_embedding(record, rows_of_kind):
    torch.manual_seed(0)
    model, recorder = nn.Embedding(1_000_000, 2), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    recorder.watch(model, optimizer)
    model(torch.tensor([5, 999_999])).sum().backward()
    optimizer.step()
    recorder.close()
    row, gradient = rows_of_kind(recorder, "param")[0, "weight"], rows_of_kind(recorder, "grad")[0, "weight"]
    assert row["n"] == sum(row["counts"]) == 2_000_000
    assert row["update_norm"] == pytest.approx(2.0)
    assert (gradient["zeros"], gradient["norm"]) == (1_999_996, pytest.approx(2.0))


def test_functions_of_torch_func_do_not_disturb(record, mlp, train):
    model, recorder = mlp(), record()
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.BatchNorm1d):
            module.eval()
    parameters = dict(model.named_parameters())
    per_sample = torch.func.vmap(
        torch.func.grad(lambda p, x: torch.func.functional_call(model, p, (x[None],)).sum()), in_dims=(None, 0)
    )
    with pytest.warns(RecorderWarning):
        found = per_sample(parameters, torch.randn(3, 8))
    assert found["0.weight"].shape == (3, 24, 8)
    train(model, optimizer, 2)
    recorder.close()
