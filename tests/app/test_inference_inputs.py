"""Every kind of input and output: shown, edited, swept over its range, and an image of the user's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

import explorer
from explorer.app.inference_gallery import sheet
from explorer.app.inference_pad import ink_text
from explorer.charts.pixels import grey, value_range
from explorer.inference.edits.recipe import from_text, parse_recipe, to_text
from tests.app.inference_runs import (
    Masked,
    record,
    record_apart,
    record_autoencoder,
    record_images,
    record_masked,
    record_segmentation,
    record_table,
    record_texts,
)
from tests.app.page_texts import assert_drawn, metric, said

OpenApp = Callable[..., AppTest]
HALF = to_text(parse_recipe([{"edit": "scale", "target": "", "factor": 0.5}]))


def recipe_of(app: AppTest) -> list[dict[str, Any]]:
    found = app.query_params["recipe"]
    return [edit.to_dict() for edit in from_text(found[0] if isinstance(found, list) else found)]


def test_each_of_several_inputs_is_shown_and_edited(root: Path, open_app: OpenApp) -> None:
    record_masked(root)
    app = open_app("inference")
    assert_drawn(app)
    assert "input 1 (batch: may vary; length: may vary), mask (batch: may vary; length: may vary)" in said(app)
    app.text_area[0].set_value("abba").run()
    assert_drawn(app)
    assert {edit["input"] for edit in recipe_of(app)} == {"args[0]"}
    assert metric(app, "KL divergence") != "0 nats"


def test_the_mask_is_edited_without_the_vocabulary_and_beside_the_tokens(root: Path, open_app: OpenApp) -> None:
    run_id = record_masked(root)
    edits = [
        {"edit": "replace_token", "input": "args[0]", "position": 0, "token": 4},
        {"edit": "replace_token", "input": "kwargs['mask']", "position": 3, "token": 1},
    ]
    app = open_app("inference", input="kwargs['mask']", recipe=to_text(parse_recipe(edits)))
    assert_drawn(app)
    assert not app.text_area
    run = explorer.open_run(root / run_id)
    model = explorer.load_model(run, 0)
    inputs = {path: value[:1].clone() for path, value in model.inputs.items()}
    inputs["args[0]"][0, 0], inputs["kwargs['mask']"][0, 3] = 4, 1
    wanted = model.run(inputs).outputs[""][0].softmax(0)
    assert metric(app, "Edited predicts").endswith(f"{100 * float(wanted.max()):.3g}%")


def test_drawings_on_two_images_count_together_and_stay_with_their_inputs(root: Path, open_app: OpenApp) -> None:
    run_id = record_apart(root)
    model = explorer.load_model(explorer.open_run(root / run_id), 0)
    images = {path: value[:1].clone() for path, value in model.inputs.items()}
    layers, wanted = [], {}
    for number, (path, value) in enumerate(images.items()):
        ends = value_range(model.inputs[path].numpy())
        base = grey(value[0].numpy(), ends)
        pixels = base.copy()
        pixels[1 + number, :] = 255
        layers.append(str(ink_text(0, pixels, base, number)))
        wanted[path] = value.clone()
        wanted[path][0, 0][torch.from_numpy(pixels != base)] = float(ends[1])
    apart = {
        "first": model.run({**images, "args[0]": wanted["args[0]"]}),
        "second": model.run({**images, "args[1]": wanted["args[1]"]}),
        "both": model.run(wanted),
    }
    links = {"first": layers[0], "second": layers[1], "both": "~".join(layers)}
    for which, link in links.items():
        for shown in images:
            app = open_app("inference", ink=link, input=shown)
            assert_drawn(app)
            found = float(metric(app, "Edited").split()[0].replace("\u2212", "-"))
            assert found == pytest.approx(float(apart[which].outputs[""]), rel=2e-3), (which, shown)


def test_clearing_the_drawing_on_one_image_keeps_that_on_the_other(root: Path, open_app: OpenApp) -> None:
    record_apart(root)
    blank, full = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    layers = [str(ink_text(0, full, blank, number)) for number in (0, 1)]
    app = open_app("inference", ink="~".join(layers), input="args[1]")
    app.button(key="inference.clear_ink").click().run()
    assert_drawn(app)
    found = app.query_params["ink"]
    assert (found[0] if isinstance(found, list) else found) == layers[0]


def test_a_file_given_for_one_image_counts_while_the_other_is_shown(root: Path, open_app: OpenApp) -> None:
    run_id = record_apart(root)
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(file, "PNG")
    app = open_app("inference")
    key = f"inference.upload.{run_id}.args[0]"
    app.file_uploader(key=key).set_value(("white.png", file.getvalue(), "image/png")).run()
    assert_drawn(app)
    with_file = metric(app, "Edited")
    app.query_params["input"] = "args[1]"
    app.run()
    assert_drawn(app)
    assert not [found for found in app.file_uploader if found.key == key]
    assert metric(app, "Edited") == with_file != metric(app, "Original")
    app.query_params["input"] = "args[0]"
    app.run()
    app.button(key=f"{key}.away").click().run()
    assert_drawn(app)
    assert not [found for found in app.metric if found.label == "Edited"]


def test_two_images_are_brushed_one_by_one(root: Path, open_app: OpenApp) -> None:
    record_apart(root)
    app = open_app("inference", input="args[1]")
    app.button(key="inference.add.box").click().run()
    assert_drawn(app)
    assert recipe_of(app)[0]["input"] == "args[1]"
    assert metric(app, "Edited") != metric(app, "Original")


def test_the_input_that_is_shown_is_the_one_that_the_output_is_attributed_to(root: Path, open_app: OpenApp) -> None:
    run_id = record_apart(root)
    model = explorer.load_model(explorer.open_run(root / run_id), 0)
    images = {path: value[:1].clone() for path, value in model.inputs.items()}
    for shown in images:
        app = open_app("inference", input=shown, look="Attribution")
        assert_drawn(app)
        without = model.run({**images, shown: torch.zeros_like(images[shown])}).outputs[""]
        assert float(metric(app, "At the baseline")) == pytest.approx(float(without), rel=2e-3)


def test_an_input_without_gradients_is_not_attributed_to(root: Path, open_app: OpenApp) -> None:
    tokens = torch.randint(0, 5, (3, 4))
    record(root, "masked", Masked(), tokens, mask=tokens > 1, labels=torch.tensor([0, 1, 2]))
    app = open_app("inference", input="kwargs['mask']", look="Attribution")
    assert_drawn(app)
    assert "holds bool, which nothing can be attributed to: choose another input above" in said(app)


@pytest.mark.parametrize("edited", [False, True])
def test_an_output_that_is_an_image_is_shown_as_one(root: Path, open_app: OpenApp, edited: bool) -> None:
    record_autoencoder(root)
    app = open_app("inference", **({"recipe": HALF} if edited else {}))
    assert_drawn(app)
    assert "Black is 0, white 1" in said(app)
    assert any(found.label == "PSNR" for found in app.metric) == edited
    other = open_app("inference", output="[1]")
    assert_drawn(other)
    assert other.selectbox(key="linked.output").value == "[1]"


def test_an_output_of_many_channels_is_shown_by_one(root: Path, open_app: OpenApp) -> None:
    record_segmentation(root)
    app = open_app("inference", recipe=HALF)
    assert_drawn(app)
    assert "The largest channel is another one at" in said(app)
    app.selectbox(key="inference.output.channel.5").select(4).run()
    assert_drawn(app)


def test_the_recorded_images_are_side_by_side(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference")
    app.session_state["inference.gallery"] = True
    app.run()
    assert_drawn(app)


def test_a_sheet_holds_every_image_at_its_place() -> None:
    images = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    found = sheet(images, (2, 2))
    assert found.shape == (6, 6, 4)
    assert found[0, 3].tolist() == [128, 128, 128, 255]
    assert found[3, 0].tolist() == [255, 255, 255, 255]
    assert not found[3:, 3:].any()


def test_a_layer_is_taken_from_another_run(root: Path, open_app: OpenApp) -> None:
    first = record_images(root, "first", steps=(0,))
    other = record_images(root, "other", steps=(0, 5, 7))
    app = open_app("inference", run=first)
    app.selectbox(key="inference.weight_edit").select("take").run()
    app.selectbox(key="inference.weight_target").select("3").run()
    app.selectbox(key="inference.w.run").select(other).run()
    app.selectbox(key=f"inference.w.step.{other}").select(7).run()
    app.button(key="inference.add.weights").click().run()
    assert_drawn(app)
    assert recipe_of(app) == [{"edit": "take", "target": "3", "step": 7, "run": other}]
    assert metric(app, "KL divergence") != "0 nats"


def test_a_value_is_patched_from_another_run(root: Path, open_app: OpenApp) -> None:
    first = record_images(root, "first", steps=(0,))
    other = record_images(root, "other", steps=(0, 5, 7))
    edit = {"edit": "patch", "node": "relu", "example": 1, "step": 7, "run": other}
    shown = open_app("inference", run=first, recipe=to_text(parse_recipe([edit])))
    assert_drawn(shown)
    assert f"patch relu from example 1, step 7, run {other}" in said(shown)
    assert metric(shown, "KL divergence") != "0 nats"


def test_a_value_beyond_the_recorded_ones_is_where_its_slider_stands(root: Path, open_app: OpenApp) -> None:
    run_id = record_table(root)
    recipe = to_text(parse_recipe([{"edit": "feature", "feature": 1, "value": 1234.5}]))
    app = open_app("inference", recipe=recipe)
    assert_drawn(app)
    slider = app.slider(key=f"inference.feature.{run_id}.args[0].0.1")
    assert slider.value == slider.max == 1234.5
    names = explorer.load_model(explorer.open_run(root / run_id), 0).about["feature_names"]
    assert f"set feature 1 to 1234.5 :gray[· {names[1]}]" in said(app)


def test_the_curve_of_a_feature_is_what_the_model_gives(root: Path, open_app: OpenApp) -> None:
    record_table(root)
    app = open_app("inference", look="Sweep", sweep="feature.1")
    assert_drawn(app)
    assert list(app.selectbox(key="linked.sweep").options) == ["age", "height", "weight"]


@pytest.mark.parametrize("what", ["right", "down", "blur", "noise", "edit.0.factor", "no-such-thing"])
def test_numbers_of_images_and_edits_are_swept(root: Path, open_app: OpenApp, what: str) -> None:
    record_images(root)
    app = open_app("inference", look="Sweep", sweep=what, recipe=HALF)
    assert_drawn(app)
    assert "The prediction changes" in said(app)


def test_every_token_is_tried_in_one_place(root: Path, open_app: OpenApp) -> None:
    record_texts(root)
    app = open_app("inference", look="Sweep")
    assert_drawn(app)
    table = next(frame.value for frame in app.dataframe if "token here" in frame.value)
    assert len(table) == 5
    assert table["KL (nats)"].is_monotonic_decreasing
    assert "of 5 tokens at position 3 would change the next token" in said(app)


class Uploaded:
    """As much of Streamlit's uploaded file as the page reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def getvalue(self) -> bytes:
        return self._content


def uploaded_in(root: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, content: bytes) -> AppTest:
    """The page with a file in its uploader, which AppTest cannot fill by itself."""
    import streamlit

    run_id = record_images(root)
    key = f"inference.upload.{run_id}.args[0]"
    get = streamlit.session_state.get

    def with_file(name: str, default: object = None) -> object:
        return Uploaded(content) if name == key else get(name, default)

    monkeypatch.setattr(type(streamlit.session_state), "get", lambda self, name, default=None: with_file(name, default))
    return open_app("inference", look="Python")


def test_an_uploaded_image_is_run_and_told(root: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.full((12, 12), 255, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    app = uploaded_in(root, open_app, monkeypatch, file.getvalue())
    assert_drawn(app)
    assert "PNG, 12 pixels high and 12 wide, cut to the middle, made 6 x 6 in grey" in said(app)
    found: dict[str, Any] = {}
    exec(app.code[-1].value, found)
    model = explorer.load_model(explorer.open_run(next(root.iterdir())), 5)
    assert torch.equal(found["after"][""], model.run({"args[0]": torch.ones(1, 1, 6, 6)}).outputs[""])


def test_a_file_that_is_no_image_is_told_and_the_example_stays(
    root: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = uploaded_in(root, open_app, monkeypatch, b"MZ" + bytes(500))
    assert_drawn(app)
    assert "This file cannot be used" in said(app)
    assert metric(app, "Original predicts")
    assert not [found for found in app.metric if found.label == "Edited predicts"]
