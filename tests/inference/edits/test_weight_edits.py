"""Every edit of weights equals the same edit done by hand in PyTorch on the author's own model, to the last bit."""

import zlib

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from explorer.errors import UsageError
from explorer.inference.edits.apply import apply
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.edits.weight_edits import changed_names, edit_weights, interpolated


def edited(case, *edits):
    """Weights after a recipe, and the model's outputs on the probe batch."""
    found = apply(parse_recipe(edits), case.subject(), {case.path: case.inputs})
    return found.weights, found.run().outputs[""]


def noise_by_hand(name, tensor, relative_sd, seed):
    generator = torch.Generator().manual_seed(((zlib.crc32(name.encode()) << 32) + seed) & (2**63 - 1))
    noise = torch.randn(tensor.shape, generator=generator)
    noise *= tensor.norm().item() * relative_sd / noise.norm().item()
    return tensor + noise


def low_rank_by_hand(tensor, rank):
    left, singular, right = torch.linalg.svd(tensor.flatten(1), full_matrices=False)
    return ((left[:, :rank] * singular[:rank]) @ right[:rank]).view_as(tensor)


def with_row(tensor, row, value):
    new = tensor.clone()
    new[row] = value
    return new


def with_column(tensor, column, value):
    new = tensor.clone()
    new[:, column] = value
    return new


def pruned_by_torch(tensor, share):
    layer = nn.Linear(1, 1)
    layer.weight = nn.Parameter(tensor.clone())
    return prune.l1_unstructured(layer, "weight", share).weight.detach()


BY_HAND = [
    ({"edit": "scale", "target": "conv2.weight", "factor": 0.5}, lambda case, w: w * 0.5),
    ({"edit": "zero", "target": "conv2.weight"}, lambda case, w: w * 0),
    ({"edit": "zero", "target": "conv2.weight[3]"}, lambda case, w: with_row(w, 3, 0.0)),
    ({"edit": "scale", "target": "conv2.weight[:,2]", "factor": -2}, lambda case, w: with_column(w, 2, -2 * w[:, 2])),
    ({"edit": "set", "target": "conv2.weight[3,2,1,0]", "value": 4.5}, lambda case, w: with_row(w, (3, 2, 1, 0), 4.5)),
    ({"edit": "prune", "target": "conv2.weight", "share": 0.3}, lambda case, w: pruned_by_torch(w, 0.3)),
    (
        {"edit": "noise", "target": "conv2.weight", "relative_sd": 0.2, "seed": 7},
        lambda case, w: noise_by_hand("conv2.weight", w, 0.2, 7),
    ),
    (
        {"edit": "round", "target": "conv2.weight", "to": "int8"},
        lambda case, w: torch.round(w / (w.abs().max() / 127)).clamp(-127, 127) * (w.abs().max() / 127),
    ),
    (
        {"edit": "round", "target": "conv2.weight", "to": "float8_e4m3fn"},
        lambda case, w: (w / (w.abs().max() / 448)).to(torch.float8_e4m3fn).float() * (w.abs().max() / 448),
    ),
    ({"edit": "low_rank", "target": "conv2.weight", "rank": 3}, lambda case, w: low_rank_by_hand(w, 3)),
    ({"edit": "reset", "target": "conv2.weight"}, lambda case, w: case.first["conv2.weight"]),
    ({"edit": "take", "target": "conv2.weight", "step": 50}, lambda case, w: case.halfway["conv2.weight"]),
    (
        {"edit": "take", "target": "conv2.weight[3]", "step": 50},
        lambda case, w: with_row(w, 3, case.halfway["conv2.weight"][3]),
    ),
    (
        {"edit": "interpolate", "target": "conv2.weight", "t": 0.25, "step": 50},
        lambda case, w: 0.75 * w + 0.25 * case.halfway["conv2.weight"],
    ),
]


@pytest.mark.parametrize(("edit", "by_hand"), BY_HAND, ids=[str(edit) for edit, _ in BY_HAND])
def test_an_edit_is_what_pytorch_gives_by_hand(digits, edit, by_hand):
    wanted = by_hand(digits, digits.weights["conv2.weight"].clone())
    weights, outputs = edited(digits, edit)
    assert torch.equal(weights["conv2.weight"], wanted)
    assert torch.equal(outputs, digits.eager(weights={**digits.weights, "conv2.weight": wanted}))
    assert list(changed_names(digits.weights, weights)) == ["conv2.weight"]


@pytest.mark.parametrize(
    "edit",
    [
        {"edit": "scale", "target": "", "factor": 1},
        {"edit": "prune", "target": "", "share": 0},
        {"edit": "noise", "target": "", "relative_sd": 0},
        {"edit": "low_rank", "target": "fc", "rank": 10},
        {"edit": "interpolate", "target": "", "t": 0, "step": 50},
        {"edit": "interpolate", "target": "", "t": 1, "step": 100},
        {"edit": "interpolate", "target": "", "t": 0.3, "step": 100},
        {"edit": "take", "target": "", "step": 100},
    ],
    ids=lambda edit: edit["edit"],
)
def test_an_edit_that_changes_nothing_gives_the_same_bits(digits, edit):
    weights, outputs = edited(digits, edit)
    assert not list(changed_names(digits.weights, weights))
    assert torch.equal(outputs, digits.eager())


def test_all_of_another_step_gives_that_steps_outputs(digits):
    for edit in ({"edit": "take", "step": 50}, {"edit": "interpolate", "t": 1, "step": 50}):
        assert torch.equal(edited(digits, {"target": "", **edit})[1], digits.eager(weights=digits.halfway))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_half_way_is_the_mean_whatever_the_tensor_holds(dtype):
    first, other = torch.tensor([1.0, 2.0, 0.1]).to(dtype), torch.tensor([3.0, 0.0, 0.1]).to(dtype)
    assert torch.equal(interpolated(first, other, 0.5), torch.tensor([2.0, 1.0, 0.1]).to(dtype))


def test_a_mask_of_infinities_stays_one_on_the_way_to_another_step():
    mask = torch.tensor([[0.0, -torch.inf], [0.0, 0.0]])
    assert torch.equal(interpolated(mask, mask.clone(), 0.3), mask)


def test_the_original_weights_are_never_written_to(digits):
    before = {name: tensor.clone() for name, tensor in digits.weights.items()}
    for edit, _ in BY_HAND:
        edited(digits, edit)
    assert all(torch.equal(before[name], tensor) for name, tensor in digits.weights.items())


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.999, 1])
def test_pruning_takes_exactly_its_share_also_of_equal_magnitudes(share):
    weights = {"w": torch.tensor([0.5, -0.5, 0.5, 1.0, -1.0, 0.25, 0.5, -2.0] * 25)}
    found = edit_weights(weights, parse_recipe([{"edit": "prune", "target": "w", "share": share}])[0])["w"]
    count = round(share * 200)
    assert int((found == 0).sum()) == count
    order = weights["w"].abs().argsort(stable=True)
    assert set((found == 0).nonzero().flatten().tolist()) == set(order[:count].tolist())


def test_a_module_stands_for_its_parameters_and_leaves_its_buffers_alone(digits):
    weights, _ = edited(digits, {"edit": "scale", "target": "norm", "factor": 2})
    assert list(changed_names(digits.weights, weights)) == ["norm.weight", "norm.bias"]
    weights, _ = edited(digits, {"edit": "take", "target": "norm", "step": 50})
    assert set(changed_names(digits.weights, weights)) > {
        "norm.weight",
        "norm.running_mean",
        "norm.num_batches_tracked",
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_edit_keeps_the_dtype_of_the_weights(digits, dtype):
    weights = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in digits.weights.items()
    }
    for edit, _ in BY_HAND:
        (parsed,) = parse_recipe([edit])
        found = edit_weights(weights, parsed, snapshots=digits.subject().snapshots)
        assert {name: tensor.dtype for name, tensor in found.items()} == {n: t.dtype for n, t in weights.items()}
        assert found["conv2.weight"].isfinite().all()


def test_tied_tensors_stay_one_and_are_edited_once(characters):
    weights, outputs = edited(characters, {"edit": "scale", "target": "", "factor": 0.5})
    halved = {name: tensor * 0.5 for name, tensor in characters.weights.items()}
    halved["head.weight"] = halved["embed.weight"]
    assert weights["head.weight"] is weights["embed.weight"]
    assert torch.equal(outputs, characters.eager(weights=halved))


def test_scaling_a_pair_around_a_relu_leaves_the_outputs_as_they_are(diabetes):
    _, outputs = edited(
        diabetes,
        {"edit": "scale", "target": "0", "factor": 4},
        {"edit": "scale", "target": "2.weight", "factor": 0.25},
    )
    assert torch.allclose(outputs, diabetes.eager(), rtol=1e-5, atol=1e-6)


def test_rounding_to_int8_is_within_half_a_step_of_pytorchs_own(digits):
    weight = digits.weights["fc.weight"]
    scale = float(weight.abs().max()) / 127
    theirs = torch.fake_quantize_per_tensor_affine(weight, scale, 0, -127, 127)
    ours = edited(digits, {"edit": "round", "target": "fc.weight", "to": "int8"})[0]["fc.weight"]
    assert (ours - theirs).abs().max() <= scale * 1.001
    assert ((ours - theirs).abs() > scale * 1e-3).float().mean() < 0.01


def test_one_scale_a_channel_is_closer_than_one_a_tensor(digits):
    uneven, _ = edited(digits, {"edit": "scale", "target": "fc.weight[0]", "factor": 100})
    for to in ("int8",):
        errors = [
            (edit_weights(uneven, parse_recipe([{"edit": "round", "target": "fc.weight", "to": to, "scales": s}])[0])[
                "fc.weight"
            ][1:] - uneven["fc.weight"][1:]).norm()
            for s in ("tensor", "channel")
        ]  # fmt: skip
        assert errors[1] <= errors[0]
        assert errors[1] > 0


def test_the_root_mean_square_of_noise_is_what_was_asked_for(digits):
    weights, _ = edited(digits, {"edit": "noise", "target": "fc.weight", "relative_sd": 0.3})
    change = weights["fc.weight"] - digits.weights["fc.weight"]
    assert float(change.norm() / digits.weights["fc.weight"].norm()) == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        ({"edit": "scale", "target": "nothing", "factor": 2}, "a tensor or a module of the model; found 'nothing'"),
        ({"edit": "scale", "target": "fc.weight[10]", "factor": 2}, "indices 0 to 9 in dimension 0; found 10"),
        ({"edit": "scale", "target": "fc.bias[1,1]", "factor": 2}, "has 1 dimensions; found an index of 2"),
        ({"edit": "scale", "target": "fc[1]", "factor": 2}, "an index needs a single tensor"),
        (
            {"edit": "low_rank", "target": "fc.bias", "rank": 1},
            r"cannot work on fc.bias: fc.bias has the shape \(10,\)",
        ),
        ({"edit": "scale", "target": "norm.num_batches_tracked", "factor": 2}, "holds int64"),
    ],
)
def test_what_cannot_be_done_is_said(digits, edit, text):
    with pytest.raises(UsageError, match=text):
        edited(digits, edit)


def test_without_snapshots_an_edit_that_needs_one_says_so(digits):
    with pytest.raises(UsageError, match="needs the first snapshot; no snapshots are at hand"):
        edit_weights(digits.weights, parse_recipe([{"edit": "reset", "target": "fc"}])[0])


def test_another_model_is_refused_by_name_and_by_shape(digits):
    class Other:
        def weights(self, run, step):
            return {"fc.bias": torch.zeros(3)}

    for target, text in (("fc.bias", r"same shape in the other snapshot; found \(3,\)"), ("fc.weight", "does not")):
        with pytest.raises(UsageError, match=text):
            edit_weights(
                digits.weights, parse_recipe([{"edit": "take", "target": target, "step": 1}])[0], snapshots=Other()
            )
