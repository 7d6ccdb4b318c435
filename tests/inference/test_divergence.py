"""Where an edit starts to matter."""

import pytest
import torch

from explorer.inference.divergence import first_difference, node_differences
from explorer.inference.edits.apply import apply
from explorer.inference.edits.recipe import parse_recipe


def table_of(case, *edits, inputs=None):
    given = {case.path: case.inputs[:4] if inputs is None else inputs}
    return node_differences(apply(parse_recipe(edits), case.subject(), given))


def test_an_edit_of_a_layer_starts_to_matter_there(digits):
    table = table_of(digits, {"edit": "scale", "target": "conv2.weight", "factor": 1.5})
    start = digits.node("conv2d", 1)
    assert first_difference(table) == start
    order = list(table["node"])
    assert not table["relative_l2"][: order.index(start)].any()
    assert (table["relative_l2"][order.index(start) :] > 0).all()
    assert table.loc[table["node"] == start, "module"].item() == "conv2"
    assert [name for name in order if name.startswith(("conv", "linear"))] == [digits.node("conv2d"), start, "linear"]


def test_the_difference_is_relative_to_the_original(digits):
    node = digits.node("conv2d", 1)
    table = table_of(digits, {"edit": "scale_activation", "node": node, "factor": 1.25}).set_index("node")
    assert table.loc[node, "relative_l2"] == pytest.approx(0.25)
    value = digits.subject().run({digits.path: digits.inputs[:4]}, keep={node}).kept[node]
    assert table.loc[node, "largest_change"] == pytest.approx(0.25 * float(value.abs().max()))


def test_an_edited_input_matters_from_the_first_node(digits):
    table = table_of(digits, {"edit": "shift", "down": 1})
    assert first_difference(table) == digits.node("conv2d")


def test_an_edit_that_changes_nothing_has_no_first_difference(digits):
    assert first_difference(table_of(digits)) is None
    assert first_difference(table_of(digits, {"edit": "scale", "target": "", "factor": 1})) is None


def test_a_dead_layer_brought_to_life_differs_infinitely(diabetes):
    weights = {**diabetes.weights, "0.weight": torch.zeros(16, 10), "0.bias": torch.zeros(16)}
    subject = diabetes.subject(weights=weights)
    given = {diabetes.path: diabetes.inputs[:2]}
    edited = apply(parse_recipe([{"edit": "set", "target": "0.bias[3]", "value": 1}]), subject, given)
    table = node_differences(edited)
    assert table["relative_l2"].iloc[0] == float("inf")
    assert table["largest_change"].iloc[0] == 1.0


def test_texts_of_another_length_are_told_and_not_compared(characters):
    table = table_of(characters, {"edit": "delete_token", "position": 3})
    assert not table["same_shape"].any()
    assert table["relative_l2"].isna().all()
    assert first_difference(table) == characters.node("embedding")
