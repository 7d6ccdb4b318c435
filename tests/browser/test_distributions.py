"""Distributions and drift with a mouse: a brush gives exact steps, a cell opens both distributions, no flicker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser

from explorer import Recorder
from explorer.storage.bins import histogram_of
from explorer.storage.disk import Disk
from explorer.storage.tensors import TensorRow, TensorSegments

STEPS = range(0, 600, 10)
OWN_PROBES = ("/_stcore/health", "/_stcore/host-config")
# A colour in the middle of the theme's scale of numbers (.streamlit/config.toml).
RAMPS = {"light": (0x2F, 0x6D, 0xC3), "dark": (0x32, 0x70, 0xB6)}


def row(step: int, name: str, kind: str, values: np.ndarray) -> TensorRow:
    found = histogram_of(values, step)
    counts = {field: int(getattr(found, field)[0]) for field in ("n", "zeros", "nans", "infs")}
    moments = {field: float(getattr(found, field)[0]) for field in ("mean", "std", "min", "max")}
    return TensorRow(
        step, 1_000_000 * step, name, kind, **counts, **moments, underflow=0, norm=float(np.linalg.norm(values)),
        m=int(found.m[0]), bins=np.asarray(found.bins), counts=np.asarray(found.counts),
    )  # fmt: skip


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two runs whose layers move at different speeds."""
    root = tmp_path_factory.mktemp("inside") / "logs"
    random = np.random.default_rng(0)
    for run in range(2):
        with Recorder(f"run {run}", root=root, system_every_s=None) as recorder:
            recorder.log({"train/loss": 1.0}, step=0)
            run_dir = recorder.path
        segments = TensorSegments(run_dir, 1, 0, Disk())
        start = random.normal(0, 0.1, 2_000)
        for step in STEPS:
            segments.add(
                [row(step, f"layer{k}.weight", "param", start + k * step * (run + 1) / 5_000) for k in range(6)]
            )
        segments.finish()
    return root


@pytest.fixture(scope="module")
def page_url(inside: Path, tmp_path_factory: pytest.TempPathFactory, server_class: Any) -> Iterator[str]:
    running = server_class(inside, tmp_path_factory.mktemp("server") / "log.txt")
    yield running.url
    running.close()


@pytest.fixture
def tab(chromium: Browser, page_url: str, opened: Any) -> Iterator[Any]:
    with opened(chromium, page_url) as found:
        yield found


def newest(tab: Any, table: str) -> Any:
    """The tables of the chart that was sent last with this one."""
    number = max(k for k, tables in enumerate(tab.charts.values()) if table in tables)
    return tab.tables(number)


def query(tab: Any) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(tab.page.url).query).items()}


def point(tab: Any, number: int, x: float, y: float) -> tuple[float, float]:
    box = tab.chart(number).bounding_box()
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


def told(tab: Any, number: int, x: float, y: float) -> dict[str, str]:
    """What the tooltip says there. A chart that is still being drawn does not answer, or is about to be elsewhere."""
    for _ in range(60):
        at = point(tab, number, x, y)
        tab.page.mouse.move(at[0] - 3, at[1])
        tab.page.mouse.move(*at)
        tab.page.wait_for_timeout(250)
        if tab.page.locator("#vg-tooltip-element.visible").count():
            break
    found: dict[str, str] = tab.tooltip()
    return found


def test_a_brush_over_the_heat_map_shows_exactly_the_steps_it_covers(tab: Any) -> None:
    tab.open("distributions?tensor=layer3.weight")
    first, last = (int(told(tab, 0, x, 0.3)["step"]) for x in (0.5, 0.8))
    assert first < last
    left, right = point(tab, 0, 0.5, 0.3), point(tab, 0, 0.8, 0.3)
    tab.page.mouse.move(*left)
    tab.page.mouse.down()
    tab.page.mouse.move((left[0] + right[0]) / 2, left[1], steps=3)
    tab.page.mouse.move(*right, steps=3)
    tab.act(tab.page.mouse.up)
    low, high = (float(end) for end in query(tab)["steps"].split(","))
    assert abs(low - first) <= 5
    assert abs(high - last) <= 5
    shown = [int(text.replace(",", "")) for text in newest(tab, "image")["hover"]["at"]]
    assert shown == [step for step in STEPS if low - 5 < step < high + 5]
    assert any(f"{2 * len(shown)} of {2 * len(STEPS)} samples" in caption for caption in tab.captions())
    tab.act(lambda: tab.page.get_by_role("button", name="All steps").click())
    assert "steps" not in query(tab)
    assert len(newest(tab, "image")["hover"]) == len(STEPS)


def test_the_slider_and_its_buttons_move_the_slice_and_nothing_flickers(tab: Any) -> None:
    tab.open("distributions?tensor=layer3.weight&against=first&at=300")
    before = newest(tab, "bars")["bars"]
    tab.watch()
    slider = tab.page.get_by_role("slider", name="Step")
    slider.focus()
    tab.act(lambda: slider.press("ArrowRight"))
    assert query(tab)["at"] == "310"
    after = newest(tab, "bars")["bars"]
    assert not after.equals(before)
    tab.act(lambda: tab.page.locator(".st-key-steps_distributions_on button").first.click())
    assert query(tab)["at"] == "320"
    assert not newest(tab, "bars")["bars"].equals(after)
    assert tab.num_removed() == 0


def test_playing_moves_the_slice_without_a_flicker_and_ends_at_the_last_step(tab: Any) -> None:
    tab.open("distributions?tensor=layer3.weight&at=550")
    tab.watch()
    tab.page.locator(".st-key-steps_distributions_play button").first.click()
    tab.page.wait_for_function("() => location.search.includes('at=590')")
    tab.settle()
    assert tab.num_removed() == 0


def test_a_click_on_a_cell_opens_both_distributions(tab: Any) -> None:
    tab.open("drift?from=first")
    cell = told(tab, 0, 0.6, 0.25)
    tab.watch()
    tab.act(lambda: tab.page.mouse.click(*point(tab, 0, 0.6, 0.25)))
    found = query(tab)
    assert (found["tensor"], found["at"]) == (cell["layer"], cell["step"].replace(",", ""))
    assert tab.page.get_by_role("heading", name=f"{cell['layer']} at step {cell['step']}").is_visible()
    assert set(newest(tab, "bars")["bars"].when) == {"now", "then"}
    chosen = newest(tab, "chosen")["chosen"].iloc[0]
    assert chosen.layer == cell["layer"]
    assert chosen.x < int(found["at"]) < chosen.x2
    assert tab.num_removed() == 0
    link = tab.page.url
    tab.open(link.removeprefix(f"{tab.url}/"))
    assert tab.page.get_by_role("heading", name=f"{cell['layer']} at step {cell['step']}").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heat_maps_have_the_colours_of_the_theme_and_no_page_complains(
    scheme: str, chromium: Browser, page_url: str, opened: Any
) -> None:
    with opened(chromium, page_url, scheme) as tab:
        for page in (
            "distributions?tensor=layer3.weight",
            "drift",
            "distributions?view=ridges",
            "distributions?view=fan",
        ):
            tab.open(page)
            if "view" in page:
                continue
            tab.page.wait_for_timeout(300)  # the picture is decoded after the chart is drawn
            assert num_pixels(tab, RAMPS[scheme]) > 100
        assert [text for text in tab.complaints if not any(probe in text for probe in OWN_PROBES)] == []
        assert [url for url in tab.requests if urlsplit(url).hostname not in ("127.0.0.1", "localhost", None)] == []


TRAINING = """
import sys, time, torch
from explorer import Recorder

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
with Recorder("live", root=sys.argv[1], system_every_s=None) as recorder:
    recorder.watch(model, optimizer, schedule=1)
    while True:
        optimizer.zero_grad()
        loss = model(torch.randn(32, 8)).square().mean()
        loss.backward()
        optimizer.step()
        recorder.log({"train/loss": loss})
        time.sleep(0.1)
"""


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Path]:
    """A root in which a watched training is going on."""
    root = tmp_path / "logs"
    project = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", TRAINING, str(root)], cwd=project, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if list(root.glob("*/tensors/*.parquet")):
            break
        time.sleep(0.1)
    yield root
    process.kill()
    process.wait(10)


@pytest.mark.parametrize(("page", "table"), [("distributions?view=fan", "fan"), ("drift", "cells")])
def test_samples_of_a_running_training_appear_without_a_flicker(
    training: Path, chromium: Browser, start: Any, opened: Any, page: str, table: str
) -> None:
    with opened(chromium, start(training).url) as tab:
        tab.page.goto(f"{tab.url}/{page}")
        tab.chart(1).wait_for(timeout=40_000)
        tab.page.wait_for_timeout(3_000)
        tab.watch()
        before = len(newest(tab, table)[table])
        for _ in range(40):
            tab.page.wait_for_timeout(500)
            if len(newest(tab, table)[table]) >= before + 20:
                break
        assert len(newest(tab, table)[table]) >= before + 20
        assert tab.num_removed() == 0


def num_pixels(tab: Any, colour: tuple[int, int, int]) -> int:
    """How many pixels of the first chart come near a colour."""
    found: int = tab.chart(0).evaluate(
        """(canvas, wanted) => {
          const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 250 && wanted.every((value, k) => Math.abs(data[i + k] - value) < 24)) count++;
          return count;
        }""",
        list(colour),
    )
    return found
