"""The pages Layers and Weights in a real browser: pick layers, move the step, open a tensor, take a snapshot away."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from explorer import Recorder
from tests.browser.conftest import Server

NUM_STEPS = 40
ROW_PX = 31


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one training whose model was snapshot, probed and looked at."""
    root = tmp_path_factory.mktemp("inside") / "logs"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    inputs, probe = torch.randn(64, 16), torch.randn(32, 16)
    with Recorder("inside", root=root, quiet=True, system_every_s=None) as rec:
        rec.watch(model, optimizer, schedule=1)
        for step in range(NUM_STEPS):
            if step % 10 == 0:
                assert rec.snapshot(model, step)
                assert rec.probe(model, probe, step)
            loss = nn.functional.cross_entropy(model(inputs), torch.arange(64) % 4)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            rec.log({"loss": loss.item()}, step=step)
    return root


@pytest.fixture(scope="module")
def served(inside: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(inside, tmp_path_factory.mktemp("server") / "log.txt")
    yield running
    running.close()


@pytest.fixture
def page(chromium: Any, served: Server, opened: Any) -> Iterator[Any]:
    with opened(chromium, served.url) as tab:
        yield tab


def show(tab: Any, path: str) -> None:
    """Open an address and wait until its first chart is drawn, for which the browser loads the drawing first."""
    tab.open(path)
    tab.page.locator('[data-testid="stVegaLiteChart"] canvas').first.wait_for(timeout=20_000)
    tab.settle()


def click_row(tab: Any, row: int, x: float = 18) -> None:
    """Click the box of a row of the first table of the page."""
    box = tab.page.get_by_test_id("stDataFrame").first.bounding_box()
    assert box is not None
    tab.act(lambda: tab.page.mouse.click(box["x"] + x, box["y"] + ROW_PX * (row + 1) + ROW_PX / 2))


def test_a_ticked_layer_is_drawn_and_stays_in_the_address(page: Any) -> None:
    show(page, "layers?layers=0.weight&stats=norm")
    assert set(page.tables(0)["lines"]["series"]) == {"0.weight"}
    click_row(page, 3)
    assert set(page.tables(-1)["lines"]["series"]) == {"0.weight", "2.bias"}
    assert "2.bias" in page.page.url
    page.page.reload()
    page.settle()
    assert set(page.tables(-1)["lines"]["series"]) == {"0.weight", "2.bias"}
    assert not [text for text in page.complaints if "404" not in text]


def test_another_step_is_other_data_in_the_same_chart(page: Any) -> None:
    show(page, "layers?tab=Gradient+flow")
    page.page.get_by_text(f"Gradient norm by depth, step {NUM_STEPS - 1}").wait_for()
    page.watch()
    page.page.get_by_role("slider").first.focus()
    page.act(lambda: page.page.keyboard.press("ArrowLeft"))
    page.page.get_by_text(f"Gradient norm by depth, step {NUM_STEPS - 2}").wait_for()
    assert f"at={NUM_STEPS - 2}" in page.page.url
    assert page.num_removed() == 0


@pytest.mark.parametrize("tab", ["Update+ratio", "Compare", "Weights", "Spectra", "Path", "CKA"])
def test_every_tab_draws_without_a_complaint_of_the_browser(page: Any, tab: str) -> None:
    show(page, f"layers?tab={tab}")
    assert not page.page.get_by_text("cannot be shown").count()
    assert not [text for text in page.complaints if "404" not in text]
    assert all(request.startswith(page.url) or request.startswith("data:") for request in page.requests)


def test_a_row_of_the_diff_opens_its_tensor(page: Any) -> None:
    show(page, "weights")
    first = page.page.get_by_role("heading", level=3).first.inner_text()
    click_row(page, 1)
    assert page.page.get_by_role("heading", level=3).first.inner_text() != first
    assert "tensor=" in page.page.url


def test_a_snapshot_is_downloaded_in_both_forms(page: Any) -> None:
    show(page, "weights")
    page.act(lambda: page.page.get_by_role("button", name="Download").nth(1).click())
    with page.page.expect_download(timeout=60_000) as waiting:
        page.page.get_by_role("button", name="state_dict").click()
    data = Path(waiting.value.path()).read_bytes()
    found = torch.load(io.BytesIO(data), weights_only=True)
    assert list(found) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with page.page.expect_download(timeout=60_000) as waiting:
        page.page.get_by_role("button", name="safetensors").click()
    raw = Path(waiting.value.path()).read_bytes()
    assert found["0.weight"].numpy().tobytes() in raw
    assert waiting.value.suggested_filename == f"inside-step-{NUM_STEPS - 10}.safetensors"
