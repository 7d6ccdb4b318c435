"""The Inference page: what it says without a model, and that a recipe of a link, a drawing and a text do their work."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import Recorder
from explorer.app.inference_nodes import by_module
from explorer.app.inference_pad import ink_text
from explorer.app.inference_steps import first_right, right_since
from explorer.app.inference_token_edits import edited_tokens, token_edits
from explorer.charts.outcome import percent
from explorer.errors import SandboxError
from explorer.inference.edits.recipe import from_text, parse_recipe, to_text
from explorer.inference.sandbox.session import Sandbox
from tests.app.inference_runs import CLASSES, record_images, record_texts
from tests.app.page_texts import assert_drawn, metric, said

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]
SCRIPT = Path(__file__).parents[2] / "streamlit_app.py"
ZERO = to_text(parse_recipe([{"edit": "zero", "target": ""}]))


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("inference")
    assert_drawn(app)
    assert "Nothing recorded yet" in said(app)


def test_runs_without_a_program_show_the_lines_that_record_one(make_run: MakeRun, open_app: OpenApp) -> None:
    make_run()
    app = open_app("inference")
    assert_drawn(app)
    assert "No model is recorded yet" in said(app)
    assert "rec.watch(model, optimizer)" in app.code[0].value


def test_a_model_that_could_not_be_captured_says_why(root: Path, make_run: MakeRun, open_app: OpenApp) -> None:
    run_id = make_run()
    folder = root / run_id / "program"
    folder.mkdir()
    document = {"format": 1, "route": "none", "why": [["export", "uses numpy"], ["tape", "gives no tensor"]]}
    (folder / "0001-00000.json.gz").write_bytes(gzip.compress(json.dumps(document).encode()))
    app = open_app("inference", run=run_id)
    assert_drawn(app)
    assert "could not be captured" in said(app)
    assert "export: uses numpy" in said(app)


def test_a_program_without_snapshots_says_what_is_missing(root: Path, open_app: OpenApp) -> None:
    record_images(root, steps=())
    app = open_app("inference")
    assert_drawn(app)
    assert "no weights to run with" in said(app)


def test_the_recorded_output_is_reproduced_and_told(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference")
    assert_drawn(app)
    assert "Reproduces the recorded output" in said(app)
    assert metric(app, "Original predicts").split()[0] in CLASSES
    earlier = open_app("inference", at="0")
    assert_drawn(earlier)
    assert "recorded with the weights of another step" in said(earlier) or "weights of step" in said(earlier)


def test_a_recipe_in_the_link_is_applied_and_told_in_words(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", recipe=ZERO)
    assert_drawn(app)
    assert "set the whole model to zero" in said(app)
    assert metric(app, "Edited predicts") == "nought · 25%"
    effect = next(frame.value for frame in app.dataframe if "quantity" in frame.value)
    assert effect.set_index("quantity").loc["accuracy, original", "edited"] == "100.0%"
    app.button(key="inference.undo").click().run()
    assert_drawn(app)
    assert not [found for found in app.metric if found.label == "Edited predicts"]


def test_an_edit_is_switched_off_in_the_link_and_stays_in_the_list(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", recipe=ZERO)
    app.button(key="inference.switch.0").click().run()
    assert_drawn(app)
    assert not [found for found in app.metric if found.label == "Edited predicts"]
    assert "~~set the whole model to zero~~" in said(app)
    off = app.query_params["off"]
    linked = open_app("inference", recipe=ZERO, off=off[0] if isinstance(off, list) else off)
    assert not [found for found in linked.metric if found.label == "Edited predicts"]
    linked.button(key="inference.switch.0").click().run()
    assert metric(linked, "Edited predicts") == "nought · 25%"
    assert "off" not in linked.query_params


def test_what_was_switched_off_does_not_reach_the_edits_of_another_link(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", recipe=ZERO, off="00000000.0")
    assert metric(app, "Edited predicts") == "nought · 25%"


def test_the_effect_stands_beside_the_range_of_random_edits(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    recipe = to_text(parse_recipe([{"edit": "scale", "target": "3.weight[2]", "factor": -2.0}]))
    app = open_app("inference", recipe=recipe)
    assert_drawn(app)
    effect = next(frame.value for frame in app.dataframe if "quantity" in frame.value).set_index("quantity")
    assert "20 random controls" in effect.columns
    assert " to " in effect.loc["mean KL (nats)", "20 random controls"]
    assert "of 20 random controls" in said(app)


def test_the_sizes_that_the_model_takes_are_told_in_words(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    assert "takes batch: may vary; channels: 1; height: " in said(open_app("inference"))


def test_an_edit_is_added_by_its_form(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference")
    app.selectbox(key="inference.weight_edit").select("zero").run()
    app.button(key="inference.add.weights").click().run()
    assert_drawn(app)
    assert metric(app, "Edited predicts") == "nought · 25%"


@pytest.mark.parametrize(
    "query",
    [
        {"recipe": "1.nonsense"},
        {"recipe": "99.abc"},
        {"at": "never"},
        {"example": "700"},
        {"ink": "1.0.6x6.AAAA"},
        {"ink": "x" * 5_000},
        {"look": "nowhere"},
        {"device": "cuda:77"},
        {"run": "../../etc"},
        {"target": "-1", "look": "Attribution"},
    ],
    ids=str,
)
def test_a_bad_link_shows_the_model_all_the_same(root: Path, open_app: OpenApp, query: dict[str, str]) -> None:
    record_images(root)
    app = open_app("inference", **query)
    assert_drawn(app)
    assert metric(app, "Original predicts")


def test_an_edit_that_does_not_fit_is_refused_in_words(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", recipe=to_text(parse_recipe([{"edit": "zero", "target": "no.such"}])))
    assert not app.exception
    assert {error.proto.title for error in app.error} == {"This cannot be run"}
    assert "no.such" in said(app)
    assert app.button(key="inference.undo")


def test_a_drawing_changes_the_output_and_lives_in_the_link(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference")
    before = metric(app, "Original predicts")
    base = np.zeros((6, 6), np.uint8)
    link = ink_text(0, np.full((6, 6), 255, np.uint8), base)
    shown = open_app("inference", ink=str(link))
    assert_drawn(shown)
    assert metric(shown, "Original predicts") == before
    assert metric(shown, "KL divergence") != "0 nats"
    assert_drawn(open_app("inference", ink=str(link), example="1"))


@pytest.mark.parametrize("tab", ["Where it matters", "Over the training", "Attribution", "Python"])
def test_every_tab_is_drawn(root: Path, open_app: OpenApp, tab: str) -> None:
    record_images(root)
    app = open_app(
        "inference", recipe=to_text(parse_recipe([{"edit": "scale", "target": "0", "factor": 0.5}])), look=tab
    )
    assert_drawn(app)
    words = {
        "Where it matters": "They start to matter at **conv2d**",
        "Over the training": "from one snapshot to the next",
        "Attribution": "speaks for the output",
        "Python": "The same model, step, example and edits in Python",
    }
    assert words[tab] in said(app)


def test_texts_are_shown_edited_and_continued(root: Path, open_app: OpenApp) -> None:
    record_texts(root)
    edits = token_edits([0, 1, 2, 3], [0, 4, 2])
    app = open_app("inference", recipe=to_text(edits), **{"continue": "true"})
    assert_drawn(app)
    assert app.text_area[0].value == "a c"
    app.text_area[0].set_value("abba").run()
    assert_drawn(app)
    assert app.text_area[0].value == "abba"
    app.text_area[0].set_value("xyz").run()
    assert "knows no" in said(app)


@pytest.mark.parametrize("after", [[], [1, 2, 3], [3, 2, 1], [9], [1, 9, 2, 8, 3, 7], [2, 3]])
def test_edits_of_tokens_make_one_text_of_the_other(after: list[int]) -> None:
    assert edited_tokens([1, 2, 3], token_edits([1, 2, 3], after)) == after
    assert edited_tokens([1, 2, 3], from_text(to_text(token_edits([1, 2, 3], after)))) == after


def test_when_an_example_was_learned_is_read_from_all_steps() -> None:
    right = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=bool)
    steps = np.array([0, 10, 20, 30])
    assert first_right(steps, right).tolist() == [10, 0, -1]
    assert right_since(steps, right).tolist() == [30, 20, -1]


def test_a_process_that_was_stopped_is_told_and_runs_again(
    root: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_images(root)
    reasons = iter([SandboxError("the run was stopped: it took more than 60 s")])
    request = Sandbox.request

    def stopped_once(self: Sandbox, *args: Any, **options: Any) -> Any:
        for reason in reasons:
            raise reason
        return request(self, *args, **options)

    monkeypatch.setattr(Sandbox, "request", stopped_once)
    app = open_app("inference")
    assert not app.exception
    assert "The process that runs the model was stopped" in said(app)
    app.run()
    assert "it took more than 60 s" in said(app)  # not tried again by itself
    app.button(key="inference.again.output").click().run()
    assert_drawn(app)
    assert metric(app, "Original predicts")


def test_a_child_that_was_killed_is_started_again(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference")
    box = app.session_state["inference.known"]["sandbox"]
    os.kill(box.pid, signal.SIGKILL)
    while box.pid is not None:  # until the system has ended all its threads
        time.sleep(0.01)
    app.selectbox(key="linked.example").select("1").run()
    assert_drawn(app)
    assert metric(app, "Original predicts")


def test_names_of_classes_are_shown_letter_by_letter(root: Path, open_app: OpenApp) -> None:
    model = nn.Linear(3, 2)
    with Recorder("hostile", root=root, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=0)
        rec.program(model, torch.ones(2, 3), labels=torch.zeros(2).long(), class_names=["[a](http://x)", "**b**"])
    value = metric(open_app("inference"), "Original predicts")
    assert value.startswith(("\\[a\\]", "\\*\\*b"))


def test_half_precision_runs_in_float32_and_says_so(root: Path, open_app: OpenApp) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).to(torch.bfloat16)
    with Recorder("half", root=root, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=0)
        rec.program(model, torch.randn(5, 6).to(torch.bfloat16), labels=torch.arange(5) % 3)
    app = open_app("inference")
    assert_drawn(app)
    assert "Agrees with the recorded output up to half precision" in said(app)


def test_the_page_keeps_torch_out_of_the_server(root: Path) -> None:
    record_images(root)
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(SCRIPT)!r}, default_timeout=60)
app.switch_page({str(SCRIPT.parent / "explorer" / "app" / "pages" / "inference.py")!r})
app.run()
assert not app.exception and not app.error and app.metric
print("torch" in sys.modules or "captum" in sys.modules)
"""
    environment = {**os.environ, "EXPLORER_ROOT": str(root)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=SCRIPT.parent, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_script_of_the_page_gives_what_the_page_shows(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    link = ink_text(0, np.full((6, 6), 255, np.uint8), np.zeros((6, 6), np.uint8))
    recipe = to_text(parse_recipe([{"edit": "scale", "target": "3.weight[2]", "factor": -2.0}]))
    app = open_app("inference", recipe=recipe, ink=str(link), look="Python")
    assert_drawn(app)
    found: dict[str, Any] = {}
    exec(app.code[-1].value, found)
    logits = {name: found[name][""][0].double() for name in ("before", "after")}
    for name, label in (("before", "Original predicts"), ("after", "Edited predicts")):
        best = int(logits[name].argmax())
        share = float(logits[name].softmax(0)[best])
        assert metric(app, label) == f"{CLASSES[best]} · {percent(share)}"


def test_other_pages_lead_to_the_model_of_a_run_that_has_one(root: Path, make_run: MakeRun, open_app: OpenApp) -> None:
    with_model, without = record_images(root), make_run()
    app = open_app("run", run=with_model)
    assert "Inference" in [button.label for button in app.button]
    assert "Inference" not in [button.label for button in open_app("run", run=without).button]
    assert open_app("runs").button(key="runs_inference").disabled
    assert not open_app("runs", runs=with_model).button(key="runs_inference").disabled
    assert open_app("runs", runs=without).button(key="runs_inference").disabled


def test_where_edits_matter_is_told_by_module_and_by_operator(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    recipe = to_text(parse_recipe([{"edit": "scale", "target": "0", "factor": 0.5}]))
    app = open_app("inference", recipe=recipe, look="Where it matters")
    assert_drawn(app)
    table = next(frame.value for frame in app.dataframe if "relative_l2" in frame.value)
    assert list(by_module(table)["module"]) == list(dict.fromkeys(table["module"]))
    app.segmented_control(key=f"inference.nodes.by.{len(table)}").set_value("Each module").run()
    assert_drawn(app)
