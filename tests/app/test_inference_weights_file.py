"""Weights from a file on the Inference page: compared with the model, used where they fit, refused in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.inference.loading import load_model
from tests.app.page_texts import assert_drawn, metric, said
from tests.app.test_inference_page import CLASSES, record_images

OpenApp = Callable[..., AppTest]
PATH = "inference.file.path"


def state_of(run: Path, step: int) -> dict[str, torch.Tensor]:
    return dict(load_model(run, step, "cpu").weights)


def typed(app: AppTest, path: Path | str) -> AppTest:
    app.text_input(key=PATH).set_value(str(path)).run()
    return app


def predicted(weights: Mapping[str, Any], run: Path) -> str:
    logits = load_model(run, device="cpu", weights=weights).run().outputs[""]
    return CLASSES[int(logits[0].argmax())]


def test_a_file_that_fits_is_used_and_told(root: Path, tmp_path: Path, open_app: OpenApp) -> None:
    run = root / record_images(root)
    other = {name: -tensor for name, tensor in state_of(run, 5).items()}
    torch.save({"state_dict": other, "epoch": 3}, tmp_path / "mine.pt")
    app = typed(open_app("inference", look="Python"), tmp_path / "mine.pt")
    assert_drawn(app)
    assert "Every weight of the model is in **mine.pt**" in said(app)
    assert "The weights are those of mine.pt" in said(app)
    assert metric(app, "Original predicts").startswith(predicted(other, run))
    assert f"weights={str(tmp_path / 'mine.pt')!r}" in app.code[-1].value
    before = metric(app, "Original predicts")
    app.toggle(key="inference.file.use").set_value(False).run()
    assert "Reproduces the recorded output" in said(app)
    assert metric(app, "Original predicts") != before


def test_a_prefix_is_left_out_at_a_click(root: Path, tmp_path: Path, open_app: OpenApp) -> None:
    run = root / record_images(root)
    torch.save({f"model.{name}": tensor for name, tensor in state_of(run, 5).items()}, tmp_path / "wrapped.pt")
    app = typed(open_app("inference"), tmp_path / "wrapped.pt")
    assert_drawn(app)
    assert "The weights of wrapped.pt do not fit" in said(app)
    table = next(frame.value for frame in app.dataframe if "weight" in frame.value)
    assert ("3.weight", "missing in the file") in set(table.itertuples(index=False, name=None))
    assert ("model.3.weight", "only in the file") in set(table.itertuples(index=False, name=None))
    app.button(key="inference.file.strip").click().run()
    assert_drawn(app)
    assert 'without the prefix "model."' in said(app)
    assert "Reproduces the recorded output" in said(app)


def test_a_file_is_read_again_when_asked_to(root: Path, tmp_path: Path, open_app: OpenApp) -> None:
    run = root / record_images(root)
    path = tmp_path / "w.pt"
    torch.save({"0.weight": torch.zeros(1)}, path)
    app = typed(open_app("inference"), path)
    assert "do not fit" in said(app)
    torch.save(state_of(run, 5), path)
    app.button(key="inference.file.again").click().run()
    assert_drawn(app)
    assert "Every weight of the model is in" in said(app)


def test_an_upload_is_kept_in_a_folder_of_the_session(root: Path, tmp_path: Path, open_app: OpenApp) -> None:
    run_id = record_images(root)
    torch.save(state_of(root / run_id, 5), tmp_path / "w.pt")
    app = open_app("inference")
    upload = app.file_uploader(key=f"inference.file.upload.{run_id}")
    upload.set_value(("[a](http://x).pt", (tmp_path / "w.pt").read_bytes(), "application/octet-stream")).run()
    assert_drawn(app)
    assert "Every weight of the model is in **[a]" in said(app)
    stored = Path(app.session_state["inference.file.stored"][1])
    assert stored.name.startswith("upload-")
    assert stored.read_bytes() == (tmp_path / "w.pt").read_bytes()
    assert stored.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("https://example.org/x.pt", "this machine only"),
        ("x.pt", "whole path"),
        ("/etc/passwd", "ends in .safetensors"),
        ("/nowhere/x.safetensors", "cannot be read: No such file"),
    ],
)
def test_what_is_no_file_is_refused_and_the_snapshot_is_shown(
    root: Path, open_app: OpenApp, path: str, text: str
) -> None:
    record_images(root)
    app = typed(open_app("inference"), path)
    assert not app.exception
    assert text in said(app)
    assert "Reproduces the recorded output" in said(app)


def test_a_link_makes_the_app_read_no_file(root: Path, tmp_path: Path, open_app: OpenApp) -> None:
    run = root / record_images(root)
    torch.save(state_of(run, 0), tmp_path / "w.pt")
    app = open_app("inference", **{PATH: str(tmp_path / "w.pt"), "file": str(tmp_path / "w.pt")})
    assert_drawn(app)
    assert app.text_input(key=PATH).value == ""
    assert "Reproduces the recorded output" in said(app)
