"""The page Inference in a real browser: what takes long can be stopped, and any other click goes through at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from explorer import Recorder
from tests.browser.conftest import Server


class Slow(nn.Module):
    """The next token of each, after far more arithmetic than that takes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 512)
        self.layers = nn.ModuleList(nn.Linear(512, 512) for _ in range(40))
        self.head = nn.Linear(512, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [N, T, 6]."""
        x = self.embedding(tokens).repeat(1, 1, 1)
        for layer in self.layers:
            x = x + torch.relu(layer(x)) * 0.01
        logits: torch.Tensor = self.head(x)
        return logits


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("slow") / "logs"
    torch.manual_seed(0)
    model = Slow()
    with Recorder("slow", root=root, quiet=True, system_every_s=None) as rec:
        for step in (0, 1):
            rec.snapshot(model, step=step)
        rec.program(model, torch.randint(0, 6, (2, 400)), vocabulary=list("abcdef"), kind="tokens")
    running = Server(root, tmp_path_factory.mktemp("server") / "log.txt")
    yield running
    running.close()


@pytest.fixture
def page(chromium: Any, served: Server, opened: Any) -> Iterator[Any]:
    with opened(chromium, served.url) as tab:
        yield tab


def continue_text(page: Any) -> Any:
    """Ask for a continuation, which takes many seconds, and return the button that stops it."""
    page.open("inference")
    page.page.get_by_text("Reproduces the recorded output").wait_for(timeout=60_000)
    page.page.get_by_test_id("stCheckbox").filter(has_text="Continue the text").locator("label").click()
    stop = page.page.get_by_role("button", name="Stop").last
    stop.wait_for(timeout=30_000)
    return stop


def test_a_question_that_takes_long_is_stopped_and_can_be_asked_again(page: Any) -> None:
    stop = continue_text(page)
    began = time.monotonic()
    stop.click()
    page.page.get_by_text("You stopped it").first.wait_for(timeout=10_000)
    assert time.monotonic() - began < 5
    page.settle()
    assert page.page.get_by_text("Reproduces the recorded output").is_visible()
    page.page.get_by_role("button", name="Run again").first.click()
    stop.wait_for(timeout=30_000)
    stop.click()
    page.page.get_by_text("You stopped it").first.wait_for(timeout=10_000)


def test_another_click_does_not_wait_for_the_answer(page: Any) -> None:
    continue_text(page)
    began = time.monotonic()
    page.page.get_by_test_id("stCheckbox").filter(has_text="Continue the text").locator("label").click()
    page.page.get_by_role("button", name="Stop").last.wait_for(state="detached", timeout=10_000)
    page.settle()
    assert time.monotonic() - began < 5
    assert page.page.get_by_text("Reproduces the recorded output").is_visible()
