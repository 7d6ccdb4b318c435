"""Which rung of the ladder is in use: the recorded program, or the user's own code of the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import Recorder
from explorer.inference.edits.recipe import parse_recipe, to_text
from tests.app.page_texts import assert_drawn, metric, said
from tests.app.test_inference_page import record_images

OpenApp = Callable[..., AppTest]

CODE = """
import torch
from torch import nn


def make():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))


def with_examples():
    return make(), torch.rand(3, 1, 6, 6)


def fails():
    raise RuntimeError("no such data set")
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Start the app as if a factory had been named on its command line."""
    (tmp_path / "own_code.py").write_text(CODE)

    def named(name: str) -> None:
        given = ["--factory", f"own_code:{name}", "--factory-folder", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["streamlit_app.py", *given])

    return named


def test_the_recorded_program_runs_until_the_own_code_is_chosen(
    root: Path, open_app: OpenApp, factory: Callable[[str], None]
) -> None:
    record_images(root)
    factory("make")
    app = open_app("inference")
    assert_drawn(app)
    assert "captured by torch.export" in said(app)
    before = metric(app, "Original predicts")
    app.segmented_control(key="inference.rung").set_value("Your own code").run()
    assert_drawn(app)
    assert "runs your own code, own_code:make, as given on the command line" in said(app)
    assert "Reproduces the recorded output" in said(app)
    assert metric(app, "Original predicts") == before
    assert "own_code" in app.session_state["inference.known"]["sandbox"].factory.name


def test_a_run_without_a_program_runs_by_the_own_code_with_edits_by_module(
    root: Path, open_app: OpenApp, factory: Callable[[str], None]
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
    with Recorder("bare", root=root, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=3)
    factory("with_examples")
    recipe = to_text(parse_recipe([{"edit": "ablate", "node": "_0", "part": "channel:0", "by": "zero"}]))
    app = open_app("inference", recipe=recipe, look="Where it matters")
    assert_drawn(app)
    assert "runs your own code, own_code:with_examples" in said(app)
    assert "They start to matter at **_0**" in said(app)


def test_code_that_fails_is_told_and_the_program_stays(
    root: Path, open_app: OpenApp, factory: Callable[[str], None]
) -> None:
    record_images(root)
    factory("fails")
    app = open_app("inference")
    app.segmented_control(key="inference.rung").set_value("Your own code").run()
    assert not app.exception
    assert "The factory own_code:fails fails with RuntimeError: no such data set".lower() in said(app).lower()
    assert metric(app, "Original predicts")


def test_neither_a_link_nor_a_run_names_code(root: Path, open_app: OpenApp) -> None:
    record_images(root)
    app = open_app("inference", factory="os:getcwd", rung="Your own code")
    assert_drawn(app)
    assert "captured by torch.export" in said(app)
    assert app.session_state["inference.known"]["sandbox"].factory is None
