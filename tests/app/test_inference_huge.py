"""Huge examples: the page draws what it can of them, sends little, says where it stops, and offers nothing in vain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from tests.app.inference_runs import record, record_fixed_batch
from tests.app.page_texts import assert_drawn, metric, said

OpenApp = Callable[..., AppTest]


class MeanOf(nn.Module):
    """Three scores of the mean of four parts of a row, or of an image's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores [N, 3] of [N, ...]."""
        scores: torch.Tensor = self.head(x.flatten(1).unflatten(1, (4, -1)).mean(-1))
        return scores


class MeanOfTokens(nn.Module):
    """Three scores of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 4), nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores [N, 3] of tokens [N, T]."""
        scores: torch.Tensor = self.head(self.words(tokens).mean(1))
        return scores


@pytest.mark.parametrize("look", ["Where it matters", "Sweep"])
def test_a_row_of_a_million_features_is_shown_in_part(root: Path, open_app: OpenApp, look: str) -> None:
    record(root, "features", MeanOf(), torch.randn(2, 1_000_000), labels=torch.tensor([0, 1]), kind="table")
    app = open_app("inference", look=look)
    assert_drawn(app)
    assert metric(app, "Original predicts")
    assert "The first 40 of 1,000,000 features" in said(app)
    assert "The first 10,000 of 1,000,000." in said(app)
    if look == "Sweep":
        assert "The first 500 of 1,000,000 features can be moved here." in said(app)
        assert len(app.selectbox(key="linked.sweep").options) == 500


def test_a_text_of_half_a_million_tokens_is_run_and_not_listed(root: Path, open_app: OpenApp) -> None:
    record(root, "tokens", MeanOfTokens(), torch.randint(0, 50, (2, 500_000)), labels=torch.tensor([0, 1]))
    app = open_app("inference")
    assert_drawn(app)
    assert metric(app, "Original predicts")
    assert "500,000 tokens are too many" in said(app)
    assert not [found for found in app.toggle if found.label == "Continue the text"]  # it tells classes of texts


def test_an_image_that_is_too_large_to_draw_is_run(root: Path, open_app: OpenApp) -> None:
    record(root, "image", MeanOf(), torch.rand(1, 1, 2_400, 2_400), labels=torch.tensor([0]), kind="image")
    app = open_app("inference")
    assert_drawn(app)
    assert metric(app, "Original predicts")
    assert "1 x 2400 x 2400 of float32" in said(app)
    assert "weights and activations can be edited" in said(app)


def test_examples_that_were_too_large_to_keep_are_named(
    root: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.recording.program.samples.MAX_BYTES", 16)
    record_fixed_batch(root)
    app = open_app("inference")
    assert_drawn(app)
    (warning,) = app.warning
    assert "input 1: larger than 64 MiB, or of a kind that is not kept" in str(warning.value)
    assert "rec.program(model, batch[:4])" in str(warning.value)
