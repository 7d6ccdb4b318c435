"""A control makes changes of exactly the same size elsewhere."""

import numpy as np
import pytest
import torch

from explorer.errors import UsageError
from explorer.inference.control import control, control_outputs
from explorer.inference.edits.apply import apply
from explorer.inference.edits.recipe import parse_recipe


def both(case, *edits, seed=0, inputs=None):
    recipe = parse_recipe(edits)
    given = {case.path: case.inputs[:8] if inputs is None else inputs}
    edited = apply(recipe, case.subject(), given)
    return edited, control(edited, recipe, seed=seed)


def test_changes_of_rows_move_to_other_rows(digits):
    edited, other = both(
        digits,
        {"edit": "zero", "target": "conv2.weight[3]"},
        {"edit": "zero", "target": "conv2.weight[5]"},
    )
    before = digits.weights["conv2.weight"]
    change, moved = edited.weights["conv2.weight"] - before, other.weights["conv2.weight"] - before
    rows = moved.flatten(1).norm(dim=1).nonzero().flatten().tolist()
    assert len(rows) == 2
    assert not {3, 5} & set(rows)
    assert float(moved.norm()) == pytest.approx(float(change.norm()), rel=1e-6)
    norms = [found.flatten(1).norm(dim=1).sort().values for found in (moved[rows], change[[3, 5]])]
    assert torch.allclose(*norms, atol=1e-6)


def test_changes_of_a_whole_tensor_trade_places(digits):
    edited, other = both(digits, {"edit": "prune", "target": "fc.weight", "share": 0.3})
    before = digits.weights["fc.weight"]
    change, moved = edited.weights["fc.weight"] - before, other.weights["fc.weight"] - before
    assert float(moved.norm()) == pytest.approx(float(change.norm()), rel=1e-5)
    assert int((moved != 0).sum()) == pytest.approx(int((change != 0).sum()), abs=2)
    assert not torch.equal(moved, change)
    assert all(other.weights[name] is digits.weights[name] for name in digits.weights if name != "fc.weight")


def test_the_seed_decides_and_a_scalar_or_bias_is_no_trouble(digits):
    edit = {"edit": "scale", "target": "fc.bias", "factor": 3}
    first, again, another = (both(digits, edit, seed=seed)[1].weights["fc.bias"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, another)


@pytest.mark.parametrize("part", ["channel:3,5", ""])
def test_changes_of_an_activation_move_to_other_units(digits, part):
    node = digits.node("conv2d", 1)
    edited, other = both(digits, {"edit": "scale_activation", "node": node, "part": part, "factor": 0.5})
    value = digits.subject().run({digits.path: digits.inputs[:8]}, keep={node}).kept[node]
    change, moved = (found.run(keep={node}).kept[node] - value for found in (edited, other))
    assert float(moved.norm()) == pytest.approx(float(change.norm()), rel=1e-5)
    assert not torch.equal(moved, change)
    if part:
        touched = moved.abs().amax(dim=(0, 2, 3)).nonzero().flatten().tolist()
        assert len(touched) == 2
        assert not {3, 5} & set(touched)
    assert torch.equal(other.run().outputs[""], other.run().outputs[""])


def test_changes_of_two_parts_of_one_node_keep_their_size_together(digits):
    node = digits.node("conv2d", 1)
    edits = [
        {"edit": "scale_activation", "node": node, "part": part, "factor": 3} for part in ("channel:1", "channel:6")
    ]
    edited, other = both(digits, *edits)
    value = digits.subject().run({digits.path: digits.inputs[:8]}, keep={node}).kept[node]
    change, moved = (found.run(keep={node}).kept[node] - value for found in (edited, other))
    assert float(moved.norm()) == pytest.approx(float(change.norm()), rel=1e-5)
    assert (moved.abs().amax(dim=(0, 2, 3)) > 0).sum() == (change.abs().amax(dim=(0, 2, 3)) > 0).sum()


def test_heads_move_to_other_heads(characters):
    node = characters.node("reshape", 3)
    _, other = both(characters, {"edit": "ablate", "node": node, "part": "head:1/4", "by": "zero"})
    value = characters.subject().run({characters.path: characters.inputs[:8]}, keep={node}).kept[node]
    moved = (other.run(keep={node}).kept[node] - value).reshape(8, 16, 4, 6).abs().amax(dim=(0, 1, 3))
    assert len(moved.nonzero()) == 1
    assert moved[1] == 0


def test_changes_of_an_input_move_within_it(diabetes, characters):
    edited, other = both(diabetes, {"edit": "feature", "feature": 2, "value": 9})
    change, moved = (found.inputs[diabetes.path] - diabetes.inputs[:8] for found in (edited, other))
    assert float(moved.norm()) == pytest.approx(float(change.norm()), rel=1e-5)
    edited, other = both(characters, {"edit": "replace_token", "position": 4, "token": 7}, inputs=characters.inputs[:1])
    places = (other.inputs[characters.path] != characters.inputs[:1]).nonzero()[:, 1].tolist()
    assert 4 not in places
    assert len(places) <= 1


def test_tied_tensors_stay_one(characters):
    _, other = both(characters, {"edit": "scale", "target": "embed.weight[3]", "factor": 5})
    assert torch.equal(other.weights["embed.weight"], other.weights["head.weight"])
    assert not torch.equal(other.weights["embed.weight"], characters.weights["embed.weight"])


def test_a_text_that_changed_its_length_has_no_control(characters):
    with pytest.raises(UsageError, match="keep its shape"):
        both(characters, {"edit": "delete_token", "position": 4})


def test_no_edit_has_no_control_either(digits):
    _, other = both(digits)
    assert torch.equal(other.run().outputs[""], digits.eager(digits.inputs[:8]))


def test_many_controls_are_those_of_the_first_seeds(digits):
    recipe = parse_recipe([{"edit": "zero", "target": "conv2.weight[3]"}])
    edited = apply(recipe, digits.subject(), {digits.path: digits.inputs[:4]})
    done = []
    found = control_outputs(edited, recipe, 3, on_run=done.append)
    assert done == [1, 2, 3]
    for seed in range(3):
        assert np.array_equal(found[seed], control(edited, recipe, seed=seed).run().outputs[""].numpy())
    assert len(control_outputs(edited, recipe, 50, max_s=0.0)) == 1
    assert len(control_outputs(edited, recipe, 50, max_bytes=2 * found[0].nbytes)) == 2
    with pytest.raises(UsageError, match="at least one control"):
        control_outputs(edited, recipe, 0)
