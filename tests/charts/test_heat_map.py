"""The heat map: one constant specification, a picture that shows what the matrix holds, small at any size."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import vl_convert
from PIL import Image

from explorer.charts import arrow
from explorer.charts.heat_map import (
    BRUSH,
    MAX_STRIPS,
    TABLES,
    heat_picture,
    heat_spec,
    heat_tables,
    strip_samples,
    strips_table,
    strongest,
)
from explorer.charts.step_axis import sample_edges

TITLES = ("step", "median", "middle", "reach", "beside")
COLOURS = ("#ffffff", "#000000")


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def tables_of(shares: np.ndarray, step: np.ndarray):
    edges = sample_edges(step)
    window = (float(edges[0]), float(edges[-1]))
    shown = strip_samples(edges, window)
    hover = strips_table(edges, window, shown, [[str(step[k]) for k in shown]] * 5)
    return heat_tables(shares, edges, window, COLOURS, hover, [(0.0, "low"), (float(len(shares)), "high")])


def test_the_specification_compiles_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    vega = vl_convert.vegalite_to_vega(heat_spec(TITLES), show_warnings=True)
    assert {source["name"] for source in vega["data"]} >= set(TABLES)
    assert BRUSH in json.dumps(vega["signals"])
    assert "WARN" not in capfd.readouterr().err


def test_only_fixed_fields_are_read_and_no_text_becomes_an_expression() -> None:
    spec = heat_spec(("a'b]\"c[0] datum.x", *TITLES[1:]))
    fields = re.findall(r'"field": "([^"]*)"', json.dumps(spec))
    assert all(re.fullmatch(r"[a-z_0-9]+", field) for field in fields)
    assert not any("datum.x" in text for text in re.findall(r'"(?:expr|labelExpr|test)": "([^"]*)"', json.dumps(spec)))


def test_the_upper_row_is_the_largest_values_and_columns_are_samples() -> None:
    shares = np.array([[1.0, 0.0], [0.0, 0.25]])  # at step 0 all values are small
    found = pixels(heat_picture(shares, sample_edges(np.array([0, 10])), (-5, 15), COLOURS, 1.0))
    left, right = found[:, found.shape[1] // 4], found[:, 3 * found.shape[1] // 4]
    assert left[1].tolist() == [0, 0, 0, 255]
    assert left[0, 3] == 0  # no value: nothing is drawn
    assert right[1, 3] == 0
    assert right[0, 0] == pytest.approx(128, abs=5)  # a quarter of the top share is half as dark: square root


def test_steps_without_a_sample_are_left_clear() -> None:
    found = pixels(heat_picture(np.ones((1, 1)), sample_edges(np.array([50])), (0, 100), COLOURS, 1.0))
    assert (found[0, :, 3] > 0).nonzero()[0].tolist() == list(range(396, 404))


@pytest.mark.parametrize("spike", [0, 4_321, 9_999])
def test_a_distribution_that_jumped_at_one_of_ten_thousand_steps_is_drawn_in_full(spike: int) -> None:
    shares = np.zeros((6, 10_000))
    shares[1] = 1.0
    shares[:, spike] = [0, 0, 0, 0, 1, 0]
    edges = sample_edges(np.arange(10_000))
    for columns in (400, 800):
        found = pixels(heat_picture(shares, edges, (edges[0], edges[-1]), COLOURS, 1.0, columns))
        assert found.shape[1] == columns
        row = found[len(shares) - 1 - 4]
        assert (row[:, 3] > 0).nonzero()[0].tolist() == [spike * columns // 10_000]
        assert row[row[:, 3] > 0].tolist() == [[0, 0, 0, 255]]  # the strongest colour, not a tenth of it


def test_one_value_that_stands_out_at_few_steps_does_not_pale_the_others() -> None:
    shares = np.full((10, 100), 0.1)
    shares[:, 0] = [1.0, *[0.0] * 9]
    assert strongest(shares) == pytest.approx(0.2)
    assert strongest(np.zeros((4, 4))) == 1.0


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_chart_of_a_thousand_steps_and_five_hundred_bins_is_below_100_kb(noise: float) -> None:
    random = np.random.default_rng(0)
    value = np.linspace(-3, 3, 500)[:, None]
    shares = np.exp(-((value - np.linspace(0, 1, 1_000)) ** 2)) * (1 + noise * random.random((500, 1_000)))
    tables = tables_of(shares / shares.sum(axis=0), np.arange(1_000))
    assert sum(len(arrow.ipc(table)) for table in tables.values()) < 100_000
    assert sum(table.num_rows for table in tables.values()) < 4_000


def test_there_is_a_strip_for_each_sample_until_there_are_too_many() -> None:
    few = sample_edges(np.array([0, 5, 100]))
    assert strip_samples(few, (few[0], few[-1])).tolist() == [0, 1, 2]
    assert strip_samples(few, (60, 80)).tolist() == [2]
    many = sample_edges(np.arange(10_000))
    shown = strip_samples(many, (0, 10_000))
    assert MAX_STRIPS / 2 < len(shown) <= MAX_STRIPS


def test_strips_touch_and_end_with_the_window() -> None:
    edges = sample_edges(np.array([0, 10, 20, 30]))
    table = strips_table(edges, (3, 22), strip_samples(edges, (3, 22)), [["a", "b", "c"]] * 5)
    assert table["x"].to_pylist() == [3, 5, 15]
    assert table["x2"].to_pylist() == [5, 15, 22]


def test_the_picture_is_drawn_where_the_browser_would_draw_it() -> None:
    spec = {**heat_spec(TITLES, 200), "width": 300}
    tables = tables_of(np.array([[0.2, 0.6], [0.8, 0.4]]), np.array([0, 10]))
    spec["datasets"] = {name: table.to_pylist() for name, table in tables.items()}
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    assert "data:image/png;base64," in svg
    assert ">high<" in svg
