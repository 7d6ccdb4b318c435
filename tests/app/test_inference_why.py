"""The tabs that tell why: attributions by every method that is exact, and the units of a module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.inference.edits.recipe import from_text
from tests.app.inference_runs import record_fixed_batch, record_images, record_masked, record_table, record_texts
from tests.app.page_texts import assert_drawn, said

OpenApp = Callable[..., AppTest]


def options(app: AppTest, label: str) -> list[str]:
    return list(next(box for box in app.selectbox if box.label == label).options)


def metrics(app: AppTest) -> set[str]:
    return {found.label for found in app.metric}


METHODS = ["integrated_gradients", "saliency", "occlusion", "grad_cam", "layer_conductance"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_drawn_for_images(root: Path, open_app: OpenApp, method: str) -> None:
    record_images(root)
    app = open_app("inference", look="Attribution", method=method)
    assert_drawn(app)
    assert len(options(app, "Method")) == len(METHODS)
    assert ("Completeness gap" in metrics(app)) == (method in ("integrated_gradients", "layer_conductance"))
    if method in ("grad_cam", "layer_conductance"):
        assert any(box.label.endswith("this layer") for box in app.selectbox)


@pytest.mark.parametrize("method", METHODS[:-1])
def test_a_batch_of_one_size_is_explained_as_well(root: Path, open_app: OpenApp, method: str) -> None:
    record_fixed_batch(root)
    app = open_app("inference", look="Attribution", method=method, example="2")
    assert_drawn(app)
    assert "takes batch: 4" in said(app)
    assert "Layer conductance" not in options(app, "Method")
    if method == "integrated_gradients":
        gap = next(found.value for found in app.metric if found.label == "Completeness gap")
        assert abs(float(gap)) < 0.05


@pytest.mark.parametrize("look", ["Units", "Sweep", "Where it matters"])
def test_other_tabs_take_a_batch_of_one_size(root: Path, open_app: OpenApp, look: str) -> None:
    record_fixed_batch(root)
    assert_drawn(open_app("inference", look=look, example="2"))


def test_the_layer_of_grad_cam_lives_in_the_link_and_a_strange_one_is_ignored(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    for node in ("conv2d", "no-such-node"):
        app = open_app("inference", look="Attribution", method="grad_cam", node=node)
        assert_drawn(app)
    assert "Output explained" in metrics(app)


def test_tokens_have_integrated_gradients_through_their_embedding(root: Path, open_app: OpenApp) -> None:
    record_texts(root)
    app = open_app("inference", look="Attribution", method="integrated_gradients")
    assert_drawn(app)
    assert options(app, "Method") == ["Ablation, one at a time", "Integrated gradients"]
    assert options(app, "Through the layer")[0].startswith("embedding (Embedding)")
    gap = next(found.value for found in app.metric if found.label == "Completeness gap")
    assert abs(float(gap)) < 1e-3


def test_what_a_text_predicts_in_the_middle_is_explained(root: Path, open_app: OpenApp) -> None:
    record_texts(root)
    app = open_app("inference", look="Attribution", method="integrated_gradients", target="1")
    assert_drawn(app)
    assert len(options(app, "Explain")) == 4
    assert app.selectbox(key="linked.target").value == "1"


def test_a_table_has_no_maps_and_all_else(root: Path, open_app: OpenApp) -> None:
    record_table(root)
    app = open_app("inference", look="Attribution", method="layer_conductance")
    assert_drawn(app)
    assert "Grad-CAM" not in options(app, "Method")
    assert "Completeness gap" in metrics(app)


def test_the_randomisation_check_is_told_in_numbers(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", look="Attribution", method="grad_cam")
    app.toggle(key="inference.check").set_value(True).run()
    assert_drawn(app)
    assert any("tensors shuffled" in frame.value for frame in app.dataframe)


@pytest.mark.parametrize("record", [record_images, record_texts, record_table, record_masked])
def test_units_and_what_excites_them_are_told(root: Path, open_app: OpenApp, record: Callable[[Path], str]) -> None:
    record(root)
    app = open_app("inference", look="Units")
    assert_drawn(app)
    assert "of them dead (0 for every recorded example)" in said(app)
    if record is record_images:
        assert "recorded examples that excite it most are" in said(app)


def test_the_unit_that_is_looked_at_is_ablated_by_a_button(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", look="Units", node="relu")
    app.button(key="inference.units.ablate").click().run()
    assert_drawn(app)
    recipe = app.query_params["recipe"]
    (edit,) = from_text(recipe[0] if isinstance(recipe, list) else recipe)
    assert edit.to_dict()["edit"] == "ablate"
    assert "Edited predicts" in metrics(app)


def test_what_is_lost_without_each_unit_is_told_by_class(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", look="Units", node="relu")
    app.toggle(key="inference.units.turn").set_value(True).run()
    assert_drawn(app)
    table = next(frame.value for frame in app.dataframe if "predictions changed" in frame.value)
    assert sorted(table["channel"]) == [0, 1, 2, 3]
    assert table["all"].is_monotonic_increasing
    assert table["all"].iloc[0] < 0
