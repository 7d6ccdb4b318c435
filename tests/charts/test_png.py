"""Pictures of a matrix, read back by a decoder that is not ours."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from explorer.charts.png import data_uri, indexed_png, ramp


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_every_pixel_has_the_colour_of_its_index() -> None:
    pixels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    found = decoded(indexed_png(pixels, [(1, 2, 3), (40, 50, 60), (255, 0, 128)]))
    assert found[:, :, :3].tolist() == [
        [[1, 2, 3], [40, 50, 60], [255, 0, 128]],
        [[255, 0, 128], [40, 50, 60], [1, 2, 3]],
    ]
    assert (found[:, :, 3] == 255).all()


def test_the_clear_index_lets_the_page_through() -> None:
    found = decoded(indexed_png(np.array([[0, 1]], np.uint8), [(0, 0, 0), (9, 9, 9)], clear=0))
    assert found[0, :, 3].tolist() == [0, 255]


def test_the_address_holds_the_picture_itself() -> None:
    png = indexed_png(np.zeros((1, 1), np.uint8), [(7, 7, 7)])
    kind, _, text = data_uri(png).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(text) == png


def test_a_ramp_begins_and_ends_with_the_colours_it_is_given() -> None:
    found = ramp(["#102030", "#ffffff", "#000000"], 9)
    assert (found[0], found[4], found[-1]) == ((16, 32, 48), (255, 255, 255), (0, 0, 0))
