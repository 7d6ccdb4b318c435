"""The heat map of drift: every layer and step in the picture, cells to point at, grey where chance is enough."""

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
from explorer.charts.drift import CELL, DRIFT_TABLES, MAX_CELLS, drift_spec, drift_tables, scale_top

COLOURS, MUTED = ("#d5e4f8", "#123362"), ("#f3f4f6", "#b9bec6")
HOSTILE = "a'b]\"c[0] datum.x </script>"


def make(drift: np.ndarray, null: float = 0.1, step: np.ndarray | None = None, **more):
    layers, num = drift.shape
    step = np.arange(num) * 10 if step is None else step
    options = {"alarms": np.zeros(drift.shape, bool), "apart": np.zeros(drift.shape, bool), **more}
    labels = [f"layer{k}" for k in range(layers - 1)] + [HOSTILE]
    keys = [str(k) for k in range(layers)]
    return drift_tables(labels, keys, step, drift, np.full(drift.shape, null), COLOURS, MUTED, **options)


def pixels(tables) -> np.ndarray:
    url = tables["image"]["url"][0].as_py()
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")).astype(int)


def test_the_specification_compiles_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    spec = drift_spec(3, "W1/sd")
    vega = vl_convert.vegalite_to_vega(spec, show_warnings=True)
    assert {source["name"] for source in vega["data"]} >= set(DRIFT_TABLES)
    assert CELL in json.dumps(vega["signals"])
    assert all(re.fullmatch(r"[a-z_0-9]+", field) for field in re.findall(r'"field": "([^"]*)"', json.dumps(spec)))
    assert "WARN" not in capfd.readouterr().err


def test_cells_within_chance_are_grey_and_unknown_ones_are_clear() -> None:
    found = pixels(make(np.array([[0.05, 2.0, np.nan]])))
    grey, blue, clear = (found[0, (2 * k + 1) * found.shape[1] // 6] for k in range(3))
    assert max(grey[:3]) - min(grey[:3]) < 10
    assert blue[2] - blue[0] > 40
    assert clear[3] == 0


def test_layers_stand_in_the_order_they_are_given_and_names_are_only_data() -> None:
    tables = make(np.array([[0.0, 1.0], [0.5, 0.0]]))
    assert tables["rows"].to_pylist() == [{"row": 0, "layer": "layer0"}, {"row": 1, "layer": HOSTILE}]
    assert HOSTILE not in json.dumps(drift_spec(2, "W1/sd"))
    cells = tables["cells"].to_pylist()
    assert [(cell["layer"], cell["key"], cell["at"]) for cell in cells][:2] == [("layer0", "0", 0), ("layer0", "0", 10)]
    assert cells[1]["drift"] == 1
    assert cells[1]["null"] == pytest.approx(0.1)


def test_few_cells_are_one_for_each_sample() -> None:
    drift = np.random.default_rng(0).random((10, 50))
    assert make(drift)["cells"].num_rows == 500


def test_of_many_cells_each_opens_the_step_that_drifted_most() -> None:
    drift = np.random.default_rng(0).random((150, 1_000)) * 0.5
    drift[7, 444] = 3.0
    tables = make(drift)
    cells = tables["cells"].to_pylist()
    assert len(cells) <= MAX_CELLS
    assert sum(table.num_rows for table in tables.values()) <= 4_000
    found = next(cell for cell in cells if cell["key"] == "7" and cell["x"] <= 4_440 < cell["x2"])
    assert found["at"] == 4_440
    assert "the largest" in found["of"]


def test_a_chart_of_sixty_layers_and_a_thousand_steps_is_below_100_kb() -> None:
    drift = np.cumsum(np.random.default_rng(0).random((60, 1_000)), axis=1)
    tables = make(drift)
    assert sum(len(arrow.ipc(table)) for table in tables.values()) < 100_000


def test_the_open_cell_is_framed_even_when_its_step_was_not_sampled() -> None:
    tables = make(np.ones((2, 3)), chosen=("1", 12))
    assert tables["chosen"].to_pylist() == [{"x": 5.0, "x2": 15.0, "row": 1}]
    assert make(np.ones((2, 3)), chosen=("gone", 0))["chosen"].num_rows == 0


def test_alarms_stand_on_their_layer_and_step() -> None:
    alarms = np.array([[False, True], [False, False]])
    assert make(np.ones((2, 2)), alarms=alarms)["alarms"].to_pylist() == [{"x": 10.0, "row": 0, "told": "step 10"}]


def test_drift_in_another_unit_sets_no_end_of_the_colour_scale() -> None:
    drift = np.array([[0.5, 0.5], [900.0, 900.0]])
    apart = np.array([[False, False], [True, True]])
    assert make(drift, apart=apart)["legend"]["share"].to_pylist() == [0.0, 0.5]


@pytest.mark.parametrize("drift", [np.full((2, 3), np.nan), np.zeros((2, 3)), np.ones((1, 1)), np.zeros((0, 0))])
def test_nothing_to_show_is_drawn_as_nothing(drift: np.ndarray) -> None:
    if not drift.size:
        assert scale_top(drift) == 1.0
        return
    tables = make(drift)
    assert tables["cells"].num_rows == np.isfinite(drift).sum()


def test_a_few_layers_that_move_far_more_than_most_leave_the_others_their_colours() -> None:
    drift = np.outer([1.0, 1.2, 0.8, 500.0], [0.0, 0.5, 1.0])
    assert scale_top(drift) == pytest.approx(4 * 1.1)
    assert scale_top(drift[:3]) == pytest.approx(1.2, rel=0.05)
