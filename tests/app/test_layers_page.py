"""The Layers page: the table, picked layers as curves, and every tab, on runs as the recorder leaves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.app.metrics_page import captions, charts, table
from tests.app.model_runs import (
    SHAPES,
    STEPS,
    stored,
    weights,
    write_everything,
    write_probe,
    write_weights,
)
from tests.app.page_texts import assert_drawn, said

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]
TABS = ("Overview", "Update ratio", "Gradient flow", "Compare", "Weights", "Spectra", "Path", "CKA")


@pytest.fixture
def run(root: Path, make_run: MakeRun) -> str:
    """A run of which everything inside the model is recorded."""
    run_id = make_run("inside")
    write_everything(root / run_id)
    return run_id


def names_in_table(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["name"])


def drawn_layers(app: AppTest, number: int = 0) -> list[str]:
    return sorted(set(table(charts(app)[number], "lines")["series"]))


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("layers")
    assert_drawn(app)
    assert "no runs" in app.info[0].value


def test_no_selected_run_says_where_to_select(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    assert "No run is selected" in open_app("layers", runs="none").info[0].value


@pytest.mark.parametrize(
    ("tab", "call"),
    [
        ("Overview", "rec.watch(model, optimizer)"),
        ("Update ratio", "rec.watch(model, optimizer)"),
        ("Gradient flow", "rec.watch(model, optimizer)"),
        ("Compare", "rec.watch(model, optimizer)"),
        ("Weights", "rec.snapshot(model, step)"),
        ("Spectra", "rec.snapshot(model, step)"),
        ("Path", "rec.snapshot(model, step)"),
        ("CKA", "rec.probe(model, batch)"),
    ],
)
def test_a_tab_without_anything_recorded_says_what_to_call(
    open_app: OpenApp, make_run: MakeRun, tab: str, call: str
) -> None:
    make_run()
    app = open_app("layers", tab=tab)
    assert_drawn(app)
    assert call in said(app)


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_draws_what_is_recorded(open_app: OpenApp, run: str, tab: str) -> None:
    app = open_app("layers", tab=tab)
    assert_drawn(app)
    assert charts(app)


def test_the_table_has_every_tensor_in_the_order_of_the_model(open_app: OpenApp, run: str) -> None:
    frame = open_app("layers").dataframe[0].value
    assert list(frame["name"]) == list(SHAPES)
    assert list(frame["shape"]) == ["4 × 1 × 3 × 3", "4", "12 × 16", "1", "3 × 12"]
    last = weights(STEPS[-1])["body.weight"]
    assert frame.set_index("name").loc["body.weight", "norm"] == pytest.approx(np.linalg.norm(last))


def test_a_table_without_nan_says_so(open_app: OpenApp, run: str) -> None:
    app = open_app("layers")
    assert "no NaN or Inf in the last samples" in said(app)
    assert "not finite" not in app.dataframe[0].value.columns


def test_a_search_and_an_order_of_the_link_apply(open_app: OpenApp, run: str) -> None:
    assert names_in_table(open_app("layers", q="conv")) == ["conv.weight", "conv.bias"]
    by_size = names_in_table(open_app("layers", by="size"))
    assert by_size[:2] == ["body.weight", "conv.weight"]


def test_the_layers_of_the_link_are_drawn(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", layers="head.weight,body.weight", stats="norm")
    assert len(charts(app)) == 1
    assert drawn_layers(app) == ["body.weight", "head.weight"]
    rows = table(charts(app)[0], "lines")
    mine = rows[rows["series"] == "head.weight"].sort_values("x")
    expected = [np.linalg.norm(weights(step)["head.weight"]) for step in STEPS]
    np.testing.assert_allclose(mine["y"], expected, rtol=1e-4)


def test_ticking_a_row_draws_its_layer_and_goes_into_the_link(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", stats="norm")
    app.session_state["layers_table"] = {"selection": {"rows": [1, 4], "columns": [], "cells": []}}
    app.run()
    assert_drawn(app)
    assert drawn_layers(app) == ["conv.bias", "head.weight"]
    assert "conv.bias" in str(app.query_params["layers"])


def test_no_ticked_row_says_so(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", layers="none")
    assert_drawn(app)
    assert "Tick layers" in said(app)


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "x" * 5_000, "a\tb,\x00", "1e999", "-1"])
@pytest.mark.parametrize("key", ["layers", "stats", "stat", "by", "at", "tensor", "run", "mode", "map", "what", "tab"])
def test_a_link_that_names_nothing_known_opens_all_the_same(
    open_app: OpenApp, run: str, key: str, hostile: str
) -> None:
    tab = {"stat": "Compare", "mode": "Compare", "map": "Compare", "at": "Gradient flow", "tensor": "Weights"}
    query = {"tab": tab.get(key, "Overview"), key: hostile}
    assert_drawn(open_app("layers", **query))


def test_two_runs_are_drawn_in_one_chart_when_asked(open_app: OpenApp, make_run: MakeRun, root: Path, run: str) -> None:
    other = make_run("other")
    write_everything(root / other, seed=1)
    app = open_app("layers", layers="head.weight", stats="norm", together="true")
    assert drawn_layers(app) == ["head.weight · inside", "head.weight · other"]
    assert drawn_layers(open_app("layers", layers="head.weight", stats="norm")) == ["head.weight"]


def test_two_runs_are_compared_layer_by_layer_and_what_does_not_match_is_named(
    open_app: OpenApp, make_run: MakeRun, root: Path, run: str
) -> None:
    other = make_run("other")
    shapes = {"conv.weight": (4, 1, 3, 3), "body.weight": (12, 20), "top.weight": (3, 12)}
    write_everything(root / other, seed=1, shapes=shapes)
    app = open_app("layers", tab="Compare", mode="runs", run=run)
    assert_drawn(app)
    told = said(app)
    assert "only in inside: conv.bias, body.scale, head.weight" in told
    assert "only in other: top.weight" in told
    assert "body.weight: shapes differ: 12 x 16 and 12 x 20" in told
    assert set(app.dataframe[0].value["layer"]) == {"conv.weight"}


def test_a_mapping_of_the_link_joins_layers_of_other_names(
    open_app: OpenApp, make_run: MakeRun, root: Path, run: str
) -> None:
    other = make_run("other")
    write_everything(root / other, seed=1, shapes={"conv.weight": (4, 1, 3, 3), "top.weight": (3, 12)})
    app = open_app("layers", tab="Compare", mode="runs", run=run, map="head.weight%09top.weight")
    assert_drawn(app)
    assert set(app.dataframe[0].value["layer"]) == {"conv.weight", "head.weight"}


def test_a_mapping_made_by_hand_goes_into_the_link(open_app: OpenApp, make_run: MakeRun, root: Path, run: str) -> None:
    other = make_run("other")
    write_everything(root / other, seed=1, shapes={"conv.weight": (4, 1, 3, 3), "top.weight": (3, 12)})
    app = open_app("layers", tab="Compare", mode="runs", run=run)
    mine = ["conv.bias", "body.weight", "body.scale", "head.weight"]
    app.session_state["layers_map"] = {
        "edited_rows": {mine.index("head.weight"): {"is": "top.weight"}}, "added_rows": [], "deleted_rows": [],
    }  # fmt: skip
    app.run()
    assert_drawn(app)
    assert set(app.dataframe[0].value["layer"]) == {"conv.weight", "head.weight"}


def test_the_update_ratio_names_layers_outside_the_band(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", tab="Update ratio")
    assert "Outside the band at step 30" in said(app)
    lines = table(charts(app)[0], "lines")
    assert set(lines["layer"]) == {"conv.weight", "body.weight", "head.weight"}
    with_biases = open_app("layers", tab="Update ratio", biases="true")
    assert "conv.bias" in set(table(charts(with_biases)[0], "lines")["layer"])


def test_gradients_are_drawn_at_the_step_of_the_link(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", tab="Gradient flow", at="10")
    points = table(charts(app)[0], "points").set_index("layer")["y"]
    expected = {name: np.linalg.norm(0.1 * values) for name, values in weights(10).items() if values.ndim > 1}
    assert points.to_dict() == pytest.approx(expected)
    nearest = open_app("layers", tab="Gradient flow", at="13")
    assert table(charts(nearest)[0], "points").set_index("layer")["y"].to_dict() == pytest.approx(expected)


def test_a_tensor_of_a_snapshot_is_drawn_and_says_what_a_pixel_is(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", tab="Weights", tensor="body.weight", at="20")
    assert_drawn(app)
    assert "12 × 16 float32 · each pixel one value" in captions(app)
    assert table(charts(app)[0], "image")["url"][0].startswith("data:image/png;base64,")


def test_a_convolution_is_drawn_as_its_filters(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", tab="Weights", tensor="conv.weight")
    assert "output channels 0 to 3 of 4 · input channels 0 to 0 of 1, each 3 × 3" in captions(app)
    assert "each pixel one value" in captions(open_app("layers", tab="Weights", tensor="conv.weight", draw="matrix"))


@pytest.mark.parametrize(
    ("name", "values", "dtype"),
    [
        ("number", np.array(3.5, np.float32), None),
        ("one", np.array([2.0], np.float32), None),
        ("empty", np.zeros((0, 3), np.float32), None),
        ("flags", np.array([[True, False]]), "bool"),
        ("ids", np.arange(6).reshape(2, 3), None),
        ("phases", np.ones((2, 2), np.complex64), None),
        ("nothing", np.full((3, 3), np.nan, np.float32), None),
        ("half", np.ones((2, 2), np.uint16), "bfloat16"),
        ("eighth", np.zeros((2, 2), np.uint8), "float8_e4m3fn"),
        ("wide", np.zeros((3, 70_000), np.float32), None),
    ],
)
@pytest.mark.parametrize("tab", ["Weights", "Spectra"])
def test_tensors_of_every_kind_are_drawn_or_explained(
    open_app: OpenApp, make_run: MakeRun, root: Path, tab: str, name: str, values: np.ndarray, dtype: str | None
) -> None:
    run_id = make_run()
    for step in (0, 10):
        write_weights(root / run_id, step, [stored(name, values, dtype=dtype)])
    app = open_app("layers", tab=tab, tensor=name)
    assert_drawn(app)
    assert charts(app) or app.info


def test_a_spectrum_is_told_against_the_first_snapshot(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", tab="Spectra", tensor="body.weight")
    assert_drawn(app)
    frame = app.dataframe[0].value.set_index("measure")
    expected = np.linalg.svd(weights(30)["body.weight"].astype(float), compute_uv=False)[0]
    assert float(frame.loc["spectral norm", "this"]) == pytest.approx(expected, rel=1e-3)
    assert "fewer than 30 eigenvalues" in said(app)
    every = open_app("layers", tab="Spectra", tensor="body.weight", every="true")
    assert len(charts(every)) > 3


def test_a_path_is_told_beside_that_of_a_random_walk(open_app: OpenApp, run: str) -> None:
    app = open_app("layers", tab="Path")
    assert_drawn(app)
    assert "A random walk of 4 snapshots, which learns nothing, would give" in said(app)
    assert list(table(charts(app)[0], "path")["label"]) == ["step 0", "", "", "step 30"]


def test_a_path_of_two_snapshots_says_how_many_there_are_and_how_many_it_needs(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    run_id = make_run()
    for step in (0, 1):
        write_weights(root / run_id, step, [stored("w", np.ones((2, 2), np.float32))])
    shown = said(open_app("layers", tab="Path"))
    assert "This run has 2 snapshots, and a path needs three" in shown
    assert "No snapshot of this run is recorded" not in shown


def test_the_page_opens_on_the_newest_run_that_has_layers(open_app: OpenApp, run: str, make_run: MakeRun) -> None:
    make_run("nothing inside")
    app = open_app("layers")
    assert_drawn(app)
    assert next(box.value for box in app.selectbox if box.label == "Run") == run
    assert "body.weight" in names_in_table(app)


def test_dropout_that_was_in_training_mode_in_a_validation_is_named(open_app: OpenApp, run: str, root: Path) -> None:
    assert "mode:" not in said(open_app("layers"))
    (path,) = (root / run / "model").glob("*.json")
    modes = {"train": {"drop": [4, 0], "norm": [0, 4]}, "eval": {"drop": [3, 0], "norm": [0, 3]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"modes": modes}))
    app = open_app("layers")
    assert_drawn(app)
    shown = said(app)
    assert "In forwards without gradients (validations) 1 module was in training mode: drop (3 of 3)" in shown
    assert "In training steps 1 module was in evaluation mode: norm (4 of 4)" in shown


def test_what_the_first_value_is_in_a_resumed_run_is_told_where_it_is_drawn(
    open_app: OpenApp, run: str, root: Path
) -> None:
    told = "The first value, as the newest attempt of this run knows it: the snapshot of step 0"
    assert told not in said(open_app("layers"))
    (path,) = (root / run / "model").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"initial": "the snapshot of step 0"}))
    assert told in said(open_app("layers"))
    assert told not in said(open_app("layers", stats="norm"))


def test_a_path_through_values_that_are_not_finite_is_explained(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    run_id = make_run()
    for step in (0, 1, 2):
        write_weights(root / run_id, step, [stored("w", np.full((2, 2), np.nan, np.float32))])
    app = open_app("layers", tab="Path")
    assert_drawn(app)
    assert "finite" in said(app)


def test_cka_compares_layers_steps_and_runs(open_app: OpenApp, make_run: MakeRun, root: Path, run: str) -> None:
    other = make_run("other")
    write_everything(root / other, seed=0)
    app = open_app("layers", tab="CKA", run=run)
    cells = table(charts(app)[0], "cells")
    own = cells[cells["t0"] == cells["t1"]]
    assert [float(value) for value in own["t2"]] == pytest.approx([1.0, 1.0, 1.0])
    steps = open_app("layers", tab="CKA", between="steps", module="body", run=run)
    assert set(table(charts(steps)[0], "cells")["t0"]) == {"0", "10", "20", "30"}
    runs = open_app("layers", tab="CKA", between="runs", run=run)
    assert_drawn(runs)
    cells = table(charts(runs)[0], "cells")
    assert [float(value) for value in cells[cells["t0"] == cells["t1"]]["t2"]] == pytest.approx([1.0, 1.0, 1.0])


def test_probes_of_other_batches_are_not_compared(open_app: OpenApp, make_run: MakeRun, root: Path, run: str) -> None:
    other = make_run("other")
    layers = {"body": np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)}
    write_probe(root / other, 30, layers, digest=bytes(31) + b"x")
    app = open_app("layers", tab="CKA", between="runs", run=run)
    assert_drawn(app)
    assert not charts(app)
    assert "different batches" in said(app)


@pytest.mark.parametrize("tab", TABS)
def test_half_written_files_cost_only_themselves(open_app: OpenApp, run: str, root: Path, tab: str) -> None:
    torn = [
        next((root / run / "params" / f"{STEPS[-1]:012d}").iterdir()),
        next((root / run / "probes" / f"{STEPS[-1]:012d}").iterdir()),
    ]
    for path in torn:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (root / run / "model" / "0001-00000.json").write_text('{"format": 1, "tens')
    app = open_app("layers", tab=tab)
    assert_drawn(app)
    assert charts(app)


def test_damaged_statistics_are_named(open_app: OpenApp, run: str, root: Path) -> None:
    path = next((root / run / "tensors").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    app = open_app("layers")
    assert_drawn(app)
    assert path.name in said(app)
    assert not [code for code in app.code if "rec.watch" in code.value]  # it was recorded
