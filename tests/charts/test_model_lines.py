"""Small charts of a model: what is not finite has a text and no mark, and marks stand where something happened."""

import numpy as np
import pytest

from explorer.charts.model_lines import rules_table, scores_spec, scores_table, steps_spec, steps_table, sweep_spec


def test_a_value_that_is_not_finite_has_its_text_and_no_mark():
    values = np.array([[0.5, np.nan], [np.inf, 0.25]])
    rows = steps_table(np.array([0, 10]), ["a", "b"], values, ["1", "2", "3", "4"]).to_pydict()
    assert rows["step"] == [0, 0, 10, 10]
    assert rows["value"] == [0.5, None, None, 0.25]
    assert rows["text"] == ["1", "2", "3", "4"]


def test_rules_are_places_with_words():
    assert rules_table([5.0, 9.0], ["first right", "this step"]).to_pydict() == {
        "step": [5.0, 9.0],
        "text": ["first right", "this step"],
        "label": ["first right", "\nthis step"],  # on lines of their own, since places may be neighbours
    }
    assert rules_table([], []).num_rows == 0


@pytest.mark.parametrize("num_rows", [1, 2, 10])
def test_a_bar_has_room_for_its_name_beside_the_axis(num_rows):
    assert (scores_spec(num_rows, "attribution", ("#000000", "#ffffff"))["height"] - 50) / num_rows >= 14


@pytest.mark.parametrize("is_share", [True, False])
def test_steps_are_spread_as_logarithms_and_swept_numbers_evenly(is_share):
    names = ("a", "b")
    steps, swept = steps_spec(names, "probability", is_share), sweep_spec(names, "shift", "probability", is_share)
    x = [spec["layer"][0]["encoding"]["x"] for spec in (steps, swept)]
    assert x[0]["scale"]["type"] == "symlog"
    assert "type" not in x[1]["scale"]
    assert x[1]["axis"]["title"] == "shift"
    assert steps is steps_spec(names, "probability", is_share)


def test_scores_keep_their_order():
    rows = scores_table(["x", "y"], np.array([-1.5, np.nan])).to_pydict()
    assert rows["score"] == [-1.5, None]
    assert rows["place"] == [0, 1]
