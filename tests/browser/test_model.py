"""The Model page in a browser: a click looks at a box, a double click opens it, and a statistic is painted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser
from torch import nn

from explorer import Recorder


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a network with a module that holds others."""
    root = tmp_path_factory.mktemp("model") / "logs"
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model = nn.Sequential()
    for name, part in (("first", nn.Linear(4, 8)), ("body", body), ("last", nn.Linear(8, 2))):
        model.add_module(name, part)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder("network", root=root, quiet=True, system_every_s=None) as rec:
        rec.watch(model, optimizer)
        for step in range(4):
            loss = model(torch.randn(16, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.log({"loss": loss}, step=step)
        rec.snapshot(model, step=3)
        rec.program(model, torch.randn(4, 4))
    return root


@pytest.fixture
def page(
    chromium: Browser,
    networks: Path,
    start: Callable[[Path], Any],
    opened: Callable[..., AbstractContextManager[Any]],
) -> Iterator[Any]:
    with opened(chromium, start(networks).url) as tab:
        yield tab


def middle_of(tab: Any, key: str) -> tuple[float, float]:
    """Where a box of the graph is on the screen: at first one pixel of the picture is one of the chart."""
    tables = tab.tables(-1)
    rows, view = tables["hover"].set_index("key"), tables["view"].iloc[0]
    box = tab.chart(0).bounding_box()
    assert box is not None
    row = rows.loc[key]
    x = box["x"] + box["width"] / 2 + (row.x + row.x2) / 2 - view.x
    # What is above the picture is the colour scale.
    y = box["y"] + box["height"] - view.height - (row.y + row.y2) / 2
    return x, y


def drawn(tab: Any) -> set[str]:
    return set(tab.tables(-1)["hover"]["key"])


def test_a_click_looks_at_a_box_and_a_double_click_opens_and_closes_it(page: Any) -> None:
    page.open("model?opened=none")
    page.settle()
    assert {"module:first", "module:body", "module:last"} <= drawn(page)
    page.act(lambda: page.page.mouse.click(*middle_of(page, "module:body")))
    assert "module=body" in page.page.url
    assert len(page.tables(-1)["chosen"]) == 1
    page.act(lambda: page.page.mouse.dblclick(*middle_of(page, "module:body")))
    assert {"frame:body", "module:body.0", "module:body.2"} <= drawn(page)
    assert "opened=body" in page.page.url
    page.page.reload()
    page.settle()
    assert "module:body.0" in drawn(page)
    page.act(lambda: page.page.get_by_role("button", name="Close").first.click())
    assert "module:body.0" not in drawn(page)
    assert not [text for text in page.complaints if "404" not in text]


def test_a_click_looks_at_another_box_without_a_flicker(page: Any) -> None:
    page.open("model?opened=none&module=first")
    page.settle()
    page.watch()
    page.act(lambda: page.page.mouse.click(*middle_of(page, "module:last")))
    assert "module=last" in page.page.url
    assert page.num_removed() == 0


def test_what_is_painted_is_told_by_legend_and_tooltip(page: Any) -> None:
    page.open("model?opened=none&paint=norm&module=first")
    page.settle()
    x, y = middle_of(page, "module:body")
    page.page.mouse.move(x - 3, y)
    page.page.mouse.move(x, y)
    said = page.tooltip()
    assert said["name"] == "body"
    assert said["parameters"] == "144"
    assert float(said["Weight norm (L2)"].split()[0]) > 0
    fills = page.tables(-1)["boxes"].set_index("name")["fill"]
    assert fills["first"] != fills["▸ body"]


def test_a_module_leads_to_its_distributions(page: Any) -> None:
    page.open("model?module=last")
    page.settle()
    page.act(lambda: page.page.get_by_role("button", name="Distributions").click())
    page.page.wait_for_url("**/distributions**")
    assert "tensor=last.weight" in page.page.url
