"""The picture of a node's value: which cell is which part, and what the browser may send."""

import numpy as np
import pytest

from explorer.app.colours import LIGHT_DIVERGING
from explorer.app.inference_maps import MAX_CELLS, MAX_TILES, numbers_of, toggled, value_map
from explorer.app.inference_picker import picked


def test_channels_are_tiles_with_a_gap_that_is_clear():
    found = value_map(np.ones((5, 4, 4)), "channel", 0, LIGHT_DIVERGING)
    assert found.cells == (2, 3)
    assert found.numbers.tolist() == [[0, 1, 2], [3, 4, -1]]
    assert found.number((1, 1, 2, 2)) == 4
    assert found.number((1, 2, 2, 3)) is None
    assert found.pixels.shape == (2 * 5, 3 * 5, 4)
    assert not found.pixels[4, :, 3].any()
    assert not found.pixels[5:, 10:, 3].any()
    assert found.pixels[0, 0, 3] == 255


def test_a_row_of_units_is_folded():
    found = value_map(np.arange(40.0), "unit", 0, LIGHT_DIVERGING)
    assert found.cells == (2, 32)
    assert found.number((1, 7, 2, 8)) == 39
    assert found.number((1, 8, 2, 9)) is None
    assert found.largest == 39


@pytest.mark.parametrize(("part", "heads", "number"), [("unit", 0, 5), ("position", 0, 2), ("head", 3, 2)])
def test_a_cell_of_a_sequence_is_a_unit_a_position_or_a_head(part, heads, number):
    found = value_map(np.zeros((4, 6)), part, heads, LIGHT_DIVERGING)
    assert found.number((2, 5, 3, 6)) == number
    box = {"unit": (0, 5, 4, 6), "position": (2, 0, 3, 6), "head": (0, 4, 4, 6)}[part]
    assert found.boxes([number]) == [box]


def test_what_has_no_picture_says_so():
    assert value_map(np.zeros((4, 6)), "head", 0, LIGHT_DIVERGING) is None
    assert value_map(np.zeros((4, 6)), "head", 4, LIGHT_DIVERGING) is None
    assert value_map(np.zeros((2, 3, 4)), "position", 0, LIGHT_DIVERGING) is None
    assert value_map(np.zeros((0, 3, 4)), "channel", 0, LIGHT_DIVERGING) is None


def test_large_values_are_cut_and_values_that_are_no_numbers_are_drawn():
    many = value_map(np.zeros((MAX_TILES + 1, 2, 2)), "channel", 0, LIGHT_DIVERGING)
    assert many.is_cut
    assert many.numbers.max() == MAX_TILES - 1
    wide = value_map(np.full((3, MAX_CELLS[1] + 1), np.nan), "unit", 0, LIGHT_DIVERGING)
    assert wide.is_cut
    assert wide.largest == 0


def test_numbers_are_typed_and_toggled():
    assert numbers_of(" 3, x,5,,99999999999 ") == [3, 5]
    assert toggled(toggled("5", 2), 5) == "2"


@pytest.mark.parametrize("found", [None, "x", [0, 0, 1], [0, 0, 5, 1], [1, 0, 1, 1], [0.0, 0, 1, 1], [-1, 0, 1, 1]])
def test_a_pick_outside_of_the_picture_is_ignored(found):
    assert picked(found, (4, 4)) is None
