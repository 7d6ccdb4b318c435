"""Every kind of edit gives what the same edit gives by hand on the author's model, and a no-op gives its bits."""

import pytest
import torch

from explorer.inference.edits.apply import apply
from explorer.inference.edits.recipe import KINDS, parse_recipe
from tests.inference.edits.test_activation_edits import activations, hooked
from tests.inference.edits.test_weight_edits import BY_HAND


def with_box(images, value, *, top, left, height, width, channel=None):
    new = images.clone()
    channels = slice(None) if channel is None else channel
    new[:, channels, top : top + height, left : left + width] = value
    return new


def noisy(images, amount, seed):
    """One noise for all examples."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return images + noise * amount


def moved(images, down, right, fill):
    new = torch.full_like(images, fill)
    new[:, :, down:, right:] = images[:, :, : images.shape[2] - down, : images.shape[3] - right]
    return new


def with_column(rows, column, value):
    new = rows.clone()
    new[:, column] = value
    return new


INPUTS = [
    (
        "digits",
        {"edit": "box", "top": 2, "left": 1, "height": 3, "width": 4, "amount": 0.75},
        lambda x: with_box(x, 0.75, top=2, left=1, height=3, width=4),
    ),
    ("digits", {"edit": "box", "by": "noise", "amount": 0.25, "seed": 3}, lambda x: noisy(x, 0.25, 3)),
    ("digits", {"edit": "shift", "down": 2, "right": 1, "fill": 0.5}, lambda x: moved(x, 2, 1, 0.5)),
    ("diabetes", {"edit": "feature", "feature": 3, "value": -1.5}, lambda x: with_column(x, 3, -1.5)),
    ("characters", {"edit": "replace_token", "position": 4, "token": 7}, lambda x: with_column(x, 4, 7)),
    (
        "characters",
        {"edit": "insert_token", "position": 2, "token": 5},
        lambda x: torch.cat([x[:, :2], torch.full_like(x[:, :1], 5), x[:, 2:]], dim=1),
    ),
    ("characters", {"edit": "delete_token", "position": 3}, lambda x: torch.cat([x[:, :3], x[:, 4:]], dim=1)),
    ("characters", {"edit": "set_tokens", "tokens": "3 1 4 1 5"}, lambda x: torch.tensor([[3, 1, 4, 1, 5]] * len(x))),
]


@pytest.mark.parametrize(("case", "edit", "by_hand"), INPUTS, ids=[str(edit) for _, edit, _ in INPUTS])
def test_an_edit_of_the_input_is_the_authors_model_on_that_input(case, edit, by_hand, request):
    case = request.getfixturevalue(case)
    given = case.inputs[:6]
    found = apply(parse_recipe([edit]), case.subject(), {case.path: given})
    assert torch.equal(found.inputs[case.path], by_hand(given))
    assert torch.equal(found.run().outputs[""], case.eager(by_hand(given)))
    assert not torch.equal(found.inputs[case.path], given)


def constant(value):
    """The same value whatever was there, one example for a whole batch."""
    return lambda given: value.expand_as(given)


def drawn(probe, seed, count):
    chosen = torch.randint(len(probe), (count,), generator=torch.Generator().manual_seed(seed))
    return probe[chosen]


# An edit, and what to do by hand: made of the model before a hook is on it.
ACTIVATIONS = [
    ({"edit": "ablate", "by": "zero"}, lambda case: lambda v: v * 0),
    ({"edit": "ablate"}, lambda case: constant(activations(case, "conv2").mean(0, keepdim=True))),
    ({"edit": "ablate", "by": "resample", "seed": 4}, lambda case: constant(drawn(activations(case, "conv2"), 4, 6))),
    ({"edit": "scale_activation", "factor": 2.5}, lambda case: lambda v: v * 2.5),
    ({"edit": "clamp_activation", "low": 0.0, "high": 0.3}, lambda case: lambda v: v.clamp(0.0, 0.3)),
    ({"edit": "patch", "example": 3}, lambda case: constant(activations(case, "conv2", case.inputs[3:4]))),
]


@pytest.mark.parametrize(("edit", "by_hand"), ACTIVATIONS, ids=[str(edit) for edit, _ in ACTIVATIONS])
def test_an_edit_of_an_activation_is_a_hook_on_the_authors_model(digits, edit, by_hand):
    given = digits.inputs[10:16]
    recipe = parse_recipe([{"node": digits.node("conv2d", 1), **edit}])
    found = apply(recipe, digits.subject(), {digits.path: given}).run().outputs[""]
    assert torch.equal(found, hooked(digits, "conv2", by_hand(digits), given))


def test_a_patch_from_another_step_is_a_hook_with_that_steps_value(digits):
    given = digits.inputs[10:16]
    recipe = parse_recipe([{"edit": "patch", "node": digits.node("conv2d", 1), "step": 50}])
    found = apply(recipe, digits.subject(), {digits.path: given}).run().outputs[""]
    call, model = torch.func.functional_call, digits.model
    with torch.no_grad():
        x = call(model.conv1, _of(digits.halfway, "conv1."), (given,))
        x = torch.nn.functional.max_pool2d(torch.relu(call(model.norm, _of(digits.halfway, "norm."), (x,))), 2)
        value = call(model.conv2, _of(digits.halfway, "conv2."), (x,))
    assert torch.equal(found, hooked(digits, "conv2", constant(value), given))


def _of(weights, prefix):
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


NO_OPS = [
    ("digits", [{"edit": "scale", "target": "", "factor": 1}]),
    ("digits", [{"edit": "prune", "target": "", "share": 0}]),
    ("digits", [{"edit": "noise", "target": "", "relative_sd": 0}]),
    ("digits", [{"edit": "low_rank", "target": "fc", "rank": 10}]),
    ("digits", [{"edit": "take", "target": "", "step": 100}]),
    ("digits", [{"edit": "interpolate", "target": "", "t": 0, "step": 50}]),
    ("digits", [{"edit": "scale_activation", "node": "relu", "factor": 1}]),
    ("digits", [{"edit": "clamp_activation", "node": "relu", "low": 0.0}]),
    ("digits", [{"edit": "box", "by": "blur", "amount": 0}]),
    ("digits", [{"edit": "box", "by": "noise", "amount": 0}]),
    ("digits", [{"edit": "shift"}]),
    ("characters", [{"edit": "insert_token", "position": 2, "token": 5}, {"edit": "delete_token", "position": 2}]),
]


@pytest.mark.parametrize(("case", "recipe"), NO_OPS, ids=[recipe[0]["edit"] for _, recipe in NO_OPS])
def test_an_edit_that_changes_nothing_gives_the_authors_bits(case, recipe, request):
    case = request.getfixturevalue(case)
    found = apply(parse_recipe(recipe), case.subject(), {case.path: case.inputs}).run().outputs[""]
    assert torch.equal(found, case.eager())


def test_setting_what_is_there_already_gives_the_authors_bits(digits, diabetes, characters):
    bias = float(digits.weights["fc.bias"][2])
    recipes = [
        (digits, digits.inputs, {"edit": "set", "target": "fc.bias[2]", "value": bias}),
        (diabetes, diabetes.inputs[:1], {"edit": "feature", "feature": 2, "value": float(diabetes.inputs[0, 2])}),
        (characters, characters.inputs[:1], {"edit": "replace_token", "token": int(characters.inputs[0, 0])}),
        (digits, digits.inputs[:1], {"edit": "patch", "node": digits.node("relu", 1), "example": 0}),
    ]
    for case, given, edit in recipes:
        found = apply(parse_recipe([edit]), case.subject(), {case.path: given}).run().outputs[""]
        assert torch.equal(found, case.eager(given))


def test_no_kind_of_edit_is_left_out():
    kinds = {edit["edit"] for _, edit, _ in INPUTS} | {edit["edit"] for edit, _ in [*ACTIVATIONS, *BY_HAND]}
    assert kinds == KINDS.keys()
