"""Bars, pictures and lines of a model: rows are data, and the specification does not change with them."""

import numpy as np
import pytest

from explorer.charts.arrow_stream import stream
from explorer.charts.model_lines import nodes_table, scores_table, steps_table
from explorer.charts.outcome import CONTROL, EDITED, ORIGINAL, bars_spec, bars_table, percent
from explorer.charts.pixels import grey, is_picture, picture, signed, value_range

COLOURS = ("#0000ff", "#8080ff", "#ff8080", "#ff0000")


def test_bars_hold_one_row_a_class_and_condition():
    rows = bars_table(["cat", "dog"], [(ORIGINAL, np.array([0.9, 0.1])), (EDITED, np.array([0.2, np.nan]))])
    assert rows.column("name").to_pylist() == ["cat", "dog", "cat", "dog"]
    assert rows.column("condition").to_pylist() == [ORIGINAL] * 2 + [EDITED] * 2
    assert rows.column("probability").to_pylist() == [0.9, 0.1, 0.2, None]
    assert rows.column("text").to_pylist()[3] == "NaN"
    assert stream(rows)


def test_a_condition_that_was_repeated_has_ends():
    ends = {CONTROL: (np.array([0.4, 0.2]), np.array([0.8, 0.6]))}
    rows = bars_table(["cat", "dog"], [(ORIGINAL, np.array([0.9, 0.1])), (CONTROL, np.array([0.5, 0.5]))], ends)
    assert rows.column("low").to_pylist() == [None, None, 0.4, 0.2]
    assert rows.column("high").to_pylist() == [None, None, 0.8, 0.6]
    assert rows.column("text").to_pylist() == ["90%", "10%", "50% (40% to 80%)", "50% (20% to 60%)"]


def test_other_probabilities_keep_the_specification():
    assert bars_spec((ORIGINAL, EDITED), 10) is bars_spec((ORIGINAL, EDITED), 10)


@pytest.mark.parametrize("conditions", [(ORIGINAL,), (ORIGINAL, EDITED), (ORIGINAL, EDITED, CONTROL)])
def test_two_classes_have_bars_beside_the_axis_and_the_legend(conditions):
    room = 50 + (30 if len(conditions) > 1 else 0)
    assert (bars_spec(conditions, 2)["height"] - room) / 2 >= 14 + 10 * (len(conditions) - 1)


@pytest.mark.parametrize(("share", "text"), [(1.0, "100%"), (0.9999, "99.99%"), (0.5, "50%"), (1e-9, "1e-07%")])
def test_a_probability_is_told_so_that_small_and_large_ones_are_told_apart(share, text):
    assert percent(share) == text


def test_values_that_are_not_finite_become_gaps():
    steps = steps_table(np.array([0, 5]), ["a"], np.array([[1.0], [np.nan]]), ["1", "NaN"])
    assert steps.column("value").to_pylist() == [1.0, None]
    nodes = nodes_table(np.array([0.5, np.inf]), ["n0", "n1"], ["a", "b"], ["op", "op"], ["0.5", "from all zero"])
    assert nodes.column("change").to_pylist() == [0.5, None]
    assert scores_table(["x"], np.array([np.nan])).column("score").to_pylist() == [None]


def test_pictures_are_whole_pixels_in_grey_or_colour():
    image = np.array([[0.0, 1.0], [0.5, np.nan]])
    drawn = picture(image, (0.0, 1.0), side=4)
    assert drawn.shape == (4, 4, 3)
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert drawn[0, 3].tolist() == [255, 255, 255]
    assert drawn[3, 3].tolist() == [232, 17, 150]
    colour = picture(np.stack([np.ones((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))]), (0.0, 1.0), side=2)
    assert colour[0, 0].tolist() == [255, 0, 0]
    assert grey(image, (0.0, 1.0))[1, 0] == 128


def test_signed_maps_have_their_zero_in_the_middle_of_the_colours():
    drawn = signed(np.array([[-2.0, 0.0, 2.0]]), COLOURS, side=3)
    assert drawn[0, 0].tolist() == [0, 0, 255]
    assert drawn[0, 2].tolist() == [255, 0, 0]
    assert drawn[0, 1].tolist() == [192, 128, 192]
    assert (signed(np.zeros((1, 2)), COLOURS)[0, 0] == [192, 128, 192]).all()


def test_ranges_and_shapes_of_images_are_recognised():
    assert value_range(np.array([0.0, 0.7])) == (0.0, 1.0)
    assert value_range(np.array([0.0, 200.0])) == (0.0, 255.0)
    assert value_range(np.array([-1.5, 2.5])) == (-1.5, 2.5)
    assert is_picture((28, 28))
    assert is_picture((3, 8, 8))
    assert not is_picture((5, 8, 8))
    assert not is_picture((8,))
