"""The Inference page in a browser: a stroke on the pad and an ablation change what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser
from torch import nn

from explorer import Recorder

PICTURE = 'canvas[aria-label^="Picture to pick"]'
PAD = 'canvas[aria-label^="Drawing pad"]'


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model tells dark images from bright ones, with dark examples."""
    root = tmp_path_factory.mktemp("inference") / "logs"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(128, 2))
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model[0].weight[0] = 1
        model[2].weight[1, :64] = 0.2
        model[2].bias[0] = 2.0
    with Recorder("dark or bright", root=root, quiet=True, system_every_s=None) as rec:
        rec.snapshot(model, step=0)
        dark = torch.rand(4, 1, 8, 8) * 0.05
        rec.program(model, dark, labels=torch.zeros(4).long(), class_names=["dark", "bright"], kind="image")
    return root


def probabilities(tab: Any) -> dict[tuple[str, str], float]:
    rows = tab.tables(0)["bars"]
    return {(row.name, row.condition): row.probability for row in rows.itertuples(index=False)}


def clicked(tab: Any, across: float, down: float) -> None:
    """Click a picture at a share of its width and height."""
    picture = tab.page.locator(PICTURE)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    tab.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_a_box_that_is_dragged_is_an_edit(
    chromium: Browser,
    images: Path,
    start: Callable[[Path], Any],
    opened: Callable[..., AbstractContextManager[Any]],
) -> None:
    server = start(images)
    with opened(chromium, server.url) as tab:
        tab.open("inference?look=Python")
        tab.page.locator(PAD).wait_for(timeout=60_000)
        tab.settle()
        tab.act(lambda: tab.page.get_by_text("Box", exact=True).click())
        picture = tab.page.locator(PICTURE)
        box = picture.bounding_box()
        cell = box["width"] / 8

        def drag() -> None:
            tab.page.mouse.move(box["x"] + 1.5 * cell, box["y"] + 2.5 * cell)
            tab.page.mouse.down()
            tab.page.mouse.move(box["x"] + 4.5 * cell, box["y"] + 3.5 * cell, steps=4)
            tab.page.mouse.up()

        tab.act(drag)
        tab.page.get_by_text("set the 2 x 4 pixels at row 2, column 1 to 0").first.wait_for()
        assert "recipe=" in tab.page.url


def test_a_stroke_and_an_ablation_change_the_probabilities(
    chromium: Browser,
    images: Path,
    start: Callable[[Path], Any],
    opened: Callable[..., AbstractContextManager[Any]],
) -> None:
    server = start(images)
    with opened(chromium, server.url) as tab:
        tab.open("inference?look=Python")  # a tab without a chart: the bars are the only one
        tab.page.locator(PAD).wait_for(timeout=60_000)
        tab.settle()
        before = probabilities(tab)
        assert before.keys() == {("dark", "original"), ("bright", "original")}
        assert before["dark", "original"] > 0.7

        box = tab.page.locator(PAD).bounding_box()
        assert box is not None

        def stroke() -> None:
            tab.page.mouse.move(box["x"] + 20, box["y"] + 30)
            tab.page.mouse.down()
            for row in range(6):
                y = box["y"] + 30 + row * box["height"] / 8
                tab.page.mouse.move(box["x"] + (20 if row % 2 else box["width"] - 20), y, steps=5)
            tab.page.mouse.up()

        tab.act(stroke)
        drawn = probabilities(tab)
        assert drawn["bright", "edited"] > 0.9
        assert drawn["dark", "original"] == before["dark", "original"]
        assert "ink=" in tab.page.url

        tab.page.get_by_role("tab", name="Activations").click()
        tab.settle()
        assert tab.page.get_by_role("button", name="Add this edit").is_disabled()
        tab.act(lambda: clicked(tab, 0.25, 0.5))  # the first of two maps
        assert tab.page.get_by_role("textbox", name="Which, from 0").input_value() == "0"
        tab.act(lambda: tab.page.get_by_role("button", name="Add this edit").click())
        ablated = probabilities(tab)
        assert "recipe=" in tab.page.url
        assert ablated["bright", "edited"] < 0.9
        assert np.isclose(ablated["bright", "edited"] + ablated["dark", "edited"], 1, atol=1e-6)

        tab.open(tab.page.url.removeprefix(server.url + "/"))
        tab.page.locator(PAD).wait_for(timeout=60_000)
        tab.settle()
        assert probabilities(tab) == ablated
        assert all(request.startswith((server.url, "data:", "blob:")) for request in tab.requests)
