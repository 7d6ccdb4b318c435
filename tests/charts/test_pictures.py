"""Pictures of matrices: every value at its place, in its colour, in few bytes."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pyarrow as pa
import pytest

from explorer.charts.pictures import (
    BAD,
    BELOW,
    MAX_PIXELS,
    TABLES,
    Cells,
    PictureLook,
    blocks_of_cells,
    picture_spec,
    picture_tables,
    picture_url,
)

Image = pytest.importorskip("PIL.Image")
COLOURS = ("#0000ff", "#ffffff", "#ff0000")
NO_CELLS = Cells(*(np.empty(0) for _ in range(4)), [])


def pixels(url):
    """What a foreign decoder reads: uint8 [rows, columns, 4]."""
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def test_a_value_stands_at_its_row_and_column_in_the_colour_between_the_ends():
    found = pixels(picture_url(np.array([[-1.0, 0.0, 1.0], [5.0, -5.0, 0.0]]), COLOURS, (-1.0, 1.0)))
    blue, white, red = (0, 0, 255, 255), (255, 255, 255, 255), (255, 0, 0, 255)
    assert [[tuple(pixel) for pixel in row] for row in found.tolist()] == [[blue, white, red], [red, blue, white]]


def test_what_is_not_a_number_has_a_colour_of_its_own_and_what_is_masked_none():
    values = np.ma.array([[np.nan, np.inf, -np.inf, 0.0]], mask=[[False, False, False, True]])
    found = pixels(picture_url(values, COLOURS, (-1.0, 1.0)))[0]
    assert [tuple(pixel[:3]) for pixel in found[:3].tolist()] == [BAD] * 3
    assert found[3, 3] == 0


def test_zero_on_a_logarithmic_scale_is_told_apart_from_what_is_not_a_number():
    found = pixels(picture_url(np.array([[-np.inf, np.nan, np.inf, -1.0]]), COLOURS, (-1.0, 1.0), log=True))[0]
    assert [tuple(pixel[:3]) for pixel in found.tolist()] == [BELOW, BAD, BAD, (0, 0, 255)]


def test_noise_of_the_largest_size_stays_small_enough_to_be_sent():
    noise = np.random.default_rng(0).normal(size=(MAX_PIXELS // 300, 300))
    assert len(picture_url(noise, COLOURS, (-3.0, 3.0))) < 80_000


def test_more_pixels_than_that_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match="average them first"):
        picture_url(np.zeros((MAX_PIXELS + 1, 1)), COLOURS, (0.0, 1.0))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_an_empty_matrix_is_no_picture(shape):
    assert picture_url(np.zeros(shape), COLOURS, (0.0, 1.0)) == ""


def test_ends_that_are_equal_draw_the_first_colour():
    assert tuple(pixels(picture_url(np.ones((1, 1)), COLOURS, (1.0, 1.0)))[0, 0, :3]) == (0, 0, 255)


def test_the_specification_depends_on_the_look_alone_and_holds_no_data():
    look = PictureLook(tips=("row", "column", "value"), scheme="diverging")
    assert picture_spec(look) is picture_spec(PictureLook(tips=("row", "column", "value"), scheme="diverging"))
    text = json.dumps(picture_spec(look))
    assert "datasets" not in text
    assert "data:image" not in text
    named = {layer["data"]["name"] for layer in picture_spec(look)["layer"]}
    assert named == set(TABLES)


def test_names_of_layers_are_data_and_never_part_of_the_specification():
    name = "'); alert(1)//"
    tables = picture_tables(np.zeros((1, 1)), COLOURS, (0, 1), NO_CELLS, [(0.5, name)], [(0.5, name)])
    assert tables["y_ticks"].column("label").to_pylist() == [name]
    assert tables["x_ticks"].column("at").to_pylist() == [0.5]
    assert tables["view"].to_pylist() == [{"x_low": 0.0, "x_high": 1.0, "y_low": 0.0, "y_high": 1.0}]


def test_a_chart_of_the_largest_size_stays_under_its_budget():
    rows, columns = 200, 300
    values = np.random.default_rng(0).normal(size=(rows, columns))
    tall, wide = blocks_of_cells(rows, columns)
    y, x = (side.ravel() for side in np.mgrid[0:rows:tall, 0:columns:wide].astype(float))
    texts = [["layers.10.attention.weight"] * x.size, ["100 to 200"] * x.size]
    tables = picture_tables(values, COLOURS, (-3, 3), Cells(x, x + wide, y, y + tall, texts), [], [])
    assert sum(table.num_rows for table in tables.values()) < 4_000
    assert tables["image"].nbytes < 80_000
    assert isinstance(tables["cells"], pa.Table)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (512, 117), (1, 60_000), (60_000, 1)])
def test_cells_of_the_tooltip_cover_everything_and_are_few(shape):
    tall, wide = blocks_of_cells(*shape)
    assert -(-shape[0] // tall) * -(-shape[1] // wide) <= 1_200
