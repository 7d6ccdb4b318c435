"""Pictures of arrays: signed values in two colours, and the scale that tells them."""

import numpy as np

from explorer.charts.pixels import enlarged, scale_bar, signed

COLOURS = ("#0000ff", "#ffffff", "#ff0000")


def test_a_scale_goes_from_the_most_negative_to_the_most_positive_colour():
    bar = scale_bar(COLOURS, 11, height=3)
    assert bar.shape == (3, 11, 3)
    assert bar[0, 0].tolist() == [0, 0, 255]
    assert bar[0, 5].tolist() == [255, 255, 255]
    assert bar[0, -1].tolist() == [255, 0, 0]


def test_the_scale_has_the_colours_of_the_map():
    values = np.linspace(-2.0, 2.0, 11)[None]
    assert np.array_equal(signed(values, COLOURS, side=1), scale_bar(COLOURS, 11, height=1))


def test_what_is_not_finite_stands_out_and_0_is_the_middle():
    found = signed(np.array([[np.nan, 0.0]]), COLOURS, side=1)
    assert found[0, 0].tolist() != found[0, 1].tolist() == [255, 255, 255]


def test_pixels_are_repeated_with_their_opacity():
    rgba = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    assert enlarged(rgba, 6).shape == (3, 6, 4)
