"""The Model page of runs that have recorded no program: what there is, and what to call for more."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.app.model_page import rows
from tests.app.model_runs import stored, weights, write_model, write_weights
from tests.app.page_texts import assert_nothing_failed, said

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]


def test_a_run_that_was_only_watched_shows_its_modules_and_the_line_to_call(
    root: Path, make_run: MakeRun, open_app: OpenApp
) -> None:
    write_model(root / make_run())
    app = open_app("model")
    assert_nothing_failed(app)
    assert "No graph is recorded" in said(app)
    assert "rec.program(model, example_inputs)" in app.code[0].value
    assert {row["module"].strip() for row in rows(app)} >= {"conv", "body", "head"}


def test_a_run_with_snapshots_alone_shows_their_tensors(root: Path, make_run: MakeRun, open_app: OpenApp) -> None:
    run = root / make_run()
    write_weights(run, 0, [stored(name, values) for name, values in weights(0).items()])
    app = open_app("model")
    assert_nothing_failed(app)
    assert {row["own"] for row in rows(app)} >= {"weight 4 × 1 × 3 × 3, bias 4"}


def test_a_run_with_nothing_says_what_to_record(make_run: MakeRun, open_app: OpenApp) -> None:
    make_run()
    app = open_app("model")
    assert_nothing_failed(app)
    assert "Nothing is recorded of the model" in said(app)
    assert "rec.watch(model, optimizer)" in app.code[0].value


def test_a_capture_that_failed_says_why(root: Path, make_run: MakeRun, open_app: OpenApp) -> None:
    folder = root / make_run() / "program"
    folder.mkdir()
    document = {"format": 1, "route": "none", "why": [["export", "uses numpy"], ["tape", "gives no tensor"]]}
    (folder / "0001-00000.json.gz").write_bytes(gzip.compress(json.dumps(document).encode()))
    app = open_app("model")
    assert_nothing_failed(app)
    assert "could not be captured" in said(app)
    assert "export: uses numpy" in said(app)
