"""The same input through every snapshot, texts continued token by token, and the units of a node."""

import numpy as np
import pytest
import torch

from explorer.errors import ProgramError, UsageError
from explorer.inference.checkpoint_scrubber import Scrub, scrub
from explorer.inference.edits.apply import apply
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.generation import generate
from explorer.inference.units import unit_activity


def plain(case, inputs=None, recipe=()):
    return apply(parse_recipe(recipe), case.subject(), {case.path: case.inputs if inputs is None else inputs})


def test_every_step_gives_what_the_authors_model_gave_then(digits):
    snapshots = {100: digits.weights, 0: digits.first, 50: digits.halfway}
    seen = []
    found = scrub(plain(digits), [100, 0, 50], snapshots, on_progress=lambda done, every: seen.append((done, every)))
    assert found.steps.tolist() == [0, 50, 100]
    for row, step in zip(found.outputs, found.steps, strict=True):
        assert np.array_equal(row, digits.eager(weights=snapshots[int(step)]).numpy())
    assert seen == [(1, 3), (2, 3), (3, 3)]
    right = found.predictions() == digits.labels.numpy()
    assert right[2].mean() > right[0].mean()


def test_first_correct_learned_and_flips_follow_the_predictions():
    predictions = np.array([[1, 0, 2], [0, 0, 2], [1, 0, 0], [1, 1, 0]])
    found = Scrub(np.array([0, 10, 20, 30]), np.eye(3)[predictions])
    assert found.first_correct(np.array([1, 1, 1])).tolist() == [0, 30, -1]
    assert found.learned(np.array([1, 1, 1])).tolist() == [20, 30, -1]
    assert found.learned(np.array([2, 0, 0])).tolist() == [-1, -1, 20]
    assert found.num_flips().tolist() == [2, 1, 1]


def test_edits_of_activations_stay_on_at_every_step(digits):
    edit = {"edit": "ablate", "node": digits.node("flatten"), "by": "zero"}
    found = scrub(plain(digits, recipe=[edit]), [0, 50], {0: digits.first, 50: digits.halfway}.__getitem__)
    assert np.array_equal(found.outputs[1][0], digits.halfway["fc.bias"].numpy())


def test_no_steps_or_twice_the_same_are_refused(digits):
    for steps in ([], [1, 1]):
        with pytest.raises(UsageError, match="one or more different ones"):
            scrub(plain(digits), steps, {})


def by_hand(case, tokens, num_new, choose):
    """Continue with the author's own model."""
    for _ in range(num_new):
        logits = case.eager(tokens[:, -32:])[0, -1].double()
        tokens = torch.cat([tokens, torch.tensor([[choose(logits)]])], dim=1)
    return tokens[0, -num_new:].tolist()


def test_greedy_continuation_is_that_of_the_authors_model(characters):
    start = characters.inputs[:1, :6]
    made = generate(plain(characters, start), 12)
    assert [token.token for token in made] == by_hand(characters, start, 12, lambda logits: int(logits.argmax()))
    probabilities = characters.eager(start)[0, -1].double().softmax(-1)
    assert made[0].probability == pytest.approx(float(probabilities.max()))
    assert [token for token, _ in made[0].top] == probabilities.topk(5).indices.tolist()


def test_drawn_tokens_follow_the_seed(characters):
    start = characters.inputs[:1, :6]
    generator = torch.Generator().manual_seed(5)
    wanted = by_hand(
        characters, start, 10, lambda logits: int(torch.multinomial((logits / 0.7).softmax(-1), 1, generator=generator))
    )
    made = [generate(plain(characters, start), 10, temperature=0.7, seed=seed) for seed in (5, 5, 6)]
    assert [token.token for token in made[0]] == wanted
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_a_text_longer_than_the_table_of_positions_loses_its_first_tokens(characters):
    start = characters.inputs[:1]
    told = []
    made = generate(plain(characters, start), 20, on_token=told.append)
    assert [token.token for token in made] == by_hand(characters, start, 20, lambda logits: int(logits.argmax()))
    assert told == made


def test_an_edited_model_continues_differently(characters):
    start = characters.inputs[:1, :6]
    edit = {"edit": "ablate", "node": characters.node("relu"), "by": "zero"}
    assert generate(plain(characters, start, [edit]), 12) != generate(plain(characters, start), 12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"num_new": 0}, "from 1 to 2000; found 0"), ({"num_new": 1, "temperature": -1}, "from 0 to 100; found -1")],
)
def test_what_cannot_be_continued_is_said(characters, arguments, text):
    with pytest.raises(UsageError, match=text):
        generate(plain(characters, characters.inputs[:1]), **arguments)


def test_a_model_of_images_continues_no_text(digits):
    with pytest.raises(UsageError, match="no such input"):
        generate(plain(digits, digits.inputs[:1]), 1)


def test_a_text_too_long_from_the_start_is_an_error_that_names_the_node(characters):
    with pytest.raises(ProgramError, match="embedding"):
        generate(plain(characters, torch.zeros(1, 40, dtype=torch.int64)), 1)


def test_units_dead_for_every_input_are_found(diabetes):
    kill = [{"edit": "set", "target": "0.bias[3]", "value": -1000}]
    node = diabetes.node("relu", 0)
    found = unit_activity(plain(diabetes, recipe=kill), {diabetes.path: diabetes.inputs}, node, k=4)
    value = diabetes.subject().run({diabetes.path: diabetes.inputs}, keep={node}).kept[node]
    order = torch.argsort(value, dim=0, descending=True, stable=True)
    assert 3 in found.dead_units()
    alive = [unit for unit in range(16) if unit != 3]
    assert np.allclose(found.table["mean"][alive], value.mean(0)[alive], atol=1e-5)
    assert np.array_equal(found.top_examples[alive], order[:4].T[alive])
    assert np.allclose(found.top_values[alive], value.sort(0, descending=True).values[:4].T[alive], atol=1e-5)
    assert found.top_units(1) == [alive[int(value[:, alive].mean(0).argmax())]]
    assert found.table.loc[3, ["dead", "constant"]].all()


def test_channels_are_the_units_of_images_and_features_those_of_texts(digits, characters):
    node = digits.node("relu", 1)
    found = unit_activity(plain(digits), {digits.path: digits.inputs}, node)
    value = digits.subject().run({digits.path: digits.inputs}, keep={node}).kept[node]
    assert np.allclose(found.table["mean"], value.mean((0, 2, 3)), atol=1e-5)
    assert np.array_equal(found.table["dead"], (value == 0).all(0).flatten(1).all(1))
    assert np.array_equal(found.top_values[:, 0], value.amax((0, 2, 3)))
    texts = unit_activity(plain(characters), {characters.path: characters.inputs}, characters.node("relu"))
    assert len(texts.table) == 96


def test_channels_are_the_units_of_signals_until_they_are_turned(signals):
    probe = {signals.path: signals.inputs}
    for op, num_units, dims in (("conv1d", 6, (0, 2)), ("relu", 6, (0, 2)), ("linear", 4, (0, 1))):
        node = signals.node(op)
        found = unit_activity(plain(signals), probe, node)
        assert len(found.table) == num_units
        assert np.allclose(
            found.table["mean"], signals.subject().run(probe, keep={node}).kept[node].mean(dims), atol=1e-5
        )


def test_a_node_without_units_is_refused(characters):
    with pytest.raises(UsageError, match="to have units"):
        unit_activity(plain(characters), {characters.path: characters.inputs}, characters.node("chunk"))
