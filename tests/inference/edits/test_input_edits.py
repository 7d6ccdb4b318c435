"""Edits of inputs against the same done by hand, and against SciPy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence

from explorer.errors import UsageError
from explorer.inference.edits.apply import apply
from explorer.inference.edits.input_edits import blurred, edit_inputs, feature_grid, feature_sweep, token_id
from explorer.inference.edits.recipe import parse_edit, parse_recipe


def edited(value, /, **edit):
    return edit_inputs({"x": value}, parse_edit(edit))["x"]


IMAGE = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8).sin()


def test_one_pixel_is_a_box_of_one():
    wanted = IMAGE.clone()
    wanted[..., 2, 5] = 0.25
    assert torch.equal(edited(IMAGE, edit="box", top=2, left=5, height=1, width=1, amount=0.25), wanted)


def test_a_box_of_one_channel_leaves_the_others_alone():
    wanted = IMAGE.clone()
    wanted[:, 1, 2:4, 5:] = 0
    assert torch.equal(edited(IMAGE, edit="box", top=2, left=5, height=2, channel=1), wanted)


def test_a_box_that_reaches_over_the_edge_ends_there():
    assert torch.equal(edited(IMAGE, edit="box", top=6, height=50)[..., 6:, :], torch.zeros(2, 3, 2, 8))


def test_a_blur_is_scipys_gaussian_filter_with_edges_repeated():
    ours = blurred(IMAGE.double(), 1.3)
    theirs = ndimage.gaussian_filter(
        IMAGE.double().numpy(), 1.3, axes=(-2, -1), mode="nearest", radius=int(np.ceil(3 * 1.3))
    )
    assert np.allclose(ours.numpy(), theirs, atol=1e-12)
    box = edited(IMAGE, edit="box", by="blur", amount=1.3, top=1, left=1, height=4, width=4)
    assert torch.allclose(box[..., 1:5, 1:5].double(), ours[..., 1:5, 1:5], atol=1e-6)
    assert torch.equal(box[..., 5:, :], IMAGE[..., 5:, :])


@pytest.mark.parametrize("edit", [{"by": "blur", "amount": 0}, {"by": "noise", "amount": 0}])
def test_no_blur_and_no_noise_change_nothing(edit):
    assert torch.equal(edited(IMAGE, edit="box", **edit), IMAGE)


def test_noise_has_the_standard_deviation_asked_for_and_its_seed_gives_it_again():
    image = torch.zeros(1, 1, 200, 200)
    first = edited(image, edit="box", by="noise", amount=0.5, seed=3)
    assert float(first.std()) == pytest.approx(0.5, rel=0.02)
    assert torch.equal(first, edited(image, edit="box", by="noise", amount=0.5, seed=3))
    assert not torch.equal(first, edited(image, edit="box", by="noise", amount=0.5, seed=4))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -3), (-1, 4), (8, 0), (0, -9)])
def test_a_shift_is_scipys_shift(down, right):
    theirs = ndimage.shift(IMAGE.numpy(), (0, 0, down, right), order=0, cval=-1.0)
    assert np.array_equal(edited(IMAGE, edit="shift", down=down, right=right, fill=-1.0).numpy(), theirs)


def test_a_feature_is_set_in_every_row():
    rows = torch.randn(4, 5)
    assert torch.equal(edited(rows, edit="feature", feature=2, value=1.5)[:, 2], torch.full((4,), 1.5))


TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        ({"edit": "replace_token", "position": 1, "token": 9}, [5, 9, 7, 8]),
        ({"edit": "insert_token", "position": 0, "token": 9}, [9, 5, 6, 7, 8]),
        ({"edit": "insert_token", "position": 4, "token": 9}, [5, 6, 7, 8, 9]),
        ({"edit": "delete_token", "position": 2}, [5, 6, 8]),
        ({"edit": "set_tokens", "tokens": "1 2 3 4 5 6"}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_tokens_are_replaced_inserted_and_deleted(edit, wanted):
    assert edited(TOKENS, **edit).tolist() == [wanted]


def test_an_edited_input_gives_what_the_authors_model_gives_for_it(digits, characters):
    shift = {"edit": "shift", "down": 1}
    found = apply(parse_recipe([shift]), digits.subject(), {digits.path: digits.inputs})
    assert torch.equal(found.run().outputs[""], digits.eager(edited(digits.inputs, **shift)))
    tokens = characters.inputs[:1]
    recipe = parse_recipe(
        [{"edit": "insert_token", "position": 3, "token": 2}, {"edit": "delete_token", "position": 0}]
    )
    wanted = characters.eager(torch.cat([tokens[:, 1:3], torch.tensor([[2]]), tokens[:, 3:]], dim=1))
    found = apply(recipe, characters.subject(), {characters.path: tokens})
    assert torch.equal(found.run().outputs[""], wanted)


@pytest.mark.parametrize(
    ("value", "edit", "text"),
    [
        (TOKENS, {"edit": "box"}, r"needs an image \[..., H, W\] of floating numbers; found int64 \(1, 4\)"),
        (IMAGE, {"edit": "box", "top": 8}, "the rows 0 to 7; found 8"),
        (IMAGE, {"edit": "box", "channel": 3}, "the channels 0 to 2; found 3"),
        (IMAGE, {"edit": "delete_token"}, "sequence of whole numbers"),
        (TOKENS, {"edit": "feature"}, "row of floating numbers"),
        (TOKENS, {"edit": "replace_token", "position": 4}, "the positions 0 to 3; found 4"),
        (IMAGE, {"edit": "shift", "input": "y"}, "one of the inputs x; found 'y'"),
    ],
)
def test_what_cannot_be_done_is_said(value, edit, text):
    with pytest.raises(UsageError, match=text):
        edited(value, **edit)


def test_an_edit_names_its_input_where_there_are_two():
    with pytest.raises(UsageError, match="should name its input, since there are x, y"):
        edit_inputs({"x": IMAGE, "y": IMAGE}, parse_edit({"edit": "shift"}))


def test_a_token_is_found_by_its_text_or_its_neighbours_are_named():
    assert token_id(["a", " cat"], " cat") == 1
    with pytest.raises(UsageError, match="of 2 tokens has no 'cat'; there is ' cat'"):
        token_id(["a", " cat"], "cat")


def test_a_sweep_is_scikit_learns_individual_conditional_expectation(diabetes):
    class Wrapped(RegressorMixin, BaseEstimator):
        def __sklearn_is_fitted__(self):
            return True

        def fit(self, rows, targets):
            return self

        def predict(self, rows):
            return diabetes.eager(torch.tensor(rows, dtype=torch.float32)).numpy()[:, 0]

    rows = diabetes.inputs[:6]
    theirs = partial_dependence(
        Wrapped(), rows.double().numpy(), [2], kind="individual", grid_resolution=11, percentiles=(0.05, 0.95)
    )
    grid = [float(value) for value in theirs["grid_values"][0]]
    subject = diabetes.subject()
    ours = [subject.run({diabetes.path: feature_sweep(row, 2, grid)}).outputs[""][:, 0].numpy() for row in rows]
    assert np.allclose(ours, theirs["individual"][0], atol=1e-5)


def test_the_range_of_a_feature_is_from_the_5th_to_the_95th_percentile():
    column = torch.linspace(0, 100, 101)
    assert feature_grid(column, 3) == [5.0, 50.0, 95.0]
    assert feature_grid(torch.ones(9)) == [1.0]


@pytest.mark.parametrize(("down", "right"), [(1, 2), (-1, 0), (0, 0), (50, 0), (3, -4)])
def test_a_box_is_shifted_over_what_is_there_and_leaves_the_fill(down, right):
    box = {"top": 2, "left": 3, "height": 3, "width": 2}
    found = edited(IMAGE, edit="shift", down=down, right=right, fill=-1.0, **box)
    theirs = IMAGE.clone()
    theirs[..., 2:5, 3:5] = -1.0
    height, width = IMAGE.shape[-2:]
    for row in range(2, 5):
        for column in range(3, 5):
            if 0 <= row + down < height and 0 <= column + right < width:
                theirs[..., row + down, column + right] = IMAGE[..., row, column]
    assert torch.equal(found, theirs)


@pytest.mark.parametrize("tokens", ["", "1  2", "1,2", "-1", "9999999999", " ".join(["1"] * 5_000), 7, None])
def test_tokens_that_are_no_numbers_are_refused(tokens):
    with pytest.raises(UsageError, match="numbers with a blank between"):
        parse_recipe([{"edit": "set_tokens", "tokens": tokens}])
