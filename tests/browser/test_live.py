"""A run that is being recorded: new points appear, and nothing that the user did is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

TRAINING = """
import math, sys, time
from explorer import Recorder

with Recorder("live", root=sys.argv[1], system_every_s=None) as recorder:
    step = 0
    while True:
        for _ in range(10):
            recorder.log({"train/loss": 1 / (1 + step / 500), "train/wave": math.sin(step / 50)}, step=step)
            step += 1
        time.sleep(0.2)
"""


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A root in which a training is going on, and its process."""
    root = tmp_path / "logs"
    project = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", TRAINING, str(root)], cwd=project, stderr=subprocess.DEVNULL)
    until_s = time.monotonic() + 60
    while not any("train/wave" in file.read_text() for file in root.glob("*/summary/*.json")):
        assert time.monotonic() < until_s, "the training has not told its metrics after a minute"
        time.sleep(0.1)
    yield root, process
    process.kill()
    process.wait(10)


def test_new_points_appear_without_a_flicker_and_the_zoom_stays(
    training: tuple[Path, subprocess.Popen[bytes]], chromium: Browser, start: Any, opened: Any
) -> None:
    root, process = training
    with opened(chromium, start(root).url) as tab:
        tab.page.goto(f"{tab.url}/metrics")
        tab.chart(1).wait_for()
        tab.page.wait_for_timeout(1_500)
        tab.watch()
        before = len(tab.tables(0)["lines"])
        tab.page.wait_for_timeout(3_000)
        lines = tab.tables(0)["lines"]
        assert len(lines) > before + 50
        assert lines.x.tolist() == list(range(len(lines)))
        for _ in range(20):  # each chart asks by itself, and a row may come between
            ends = (tab.window(0)[1], tab.window(1)[1], tab.tables(0)["lines"].x.max())
            if len(set(ends)) == 1:
                break
        assert ends[0] == ends[1] == ends[2]
        assert tab.num_removed() == 0

        tab.wheel(0, 3)
        tab.page.wait_for_function("() => location.search.includes('zoom=')")
        link, zoomed = "", (0.0, 0.0)
        for _ in range(20):  # a busy machine reports the turns one after the other
            if (link, zoomed) == (tab.page.url, tab.window(0)):
                break
            link, zoomed = tab.page.url, tab.window(0)
            tab.page.wait_for_timeout(1_500)
        tab.page.wait_for_timeout(2_000)
        assert tab.window(0) == tab.window(1) == zoomed
        assert tab.page.url == link

        assert tab.page.get_by_text("Pause", exact=True).is_visible()
        process.kill()
        process.wait(10)
        tab.page.get_by_text("Pause", exact=True).wait_for(state="detached")
        tab.settle()
        assert tab.window(0) == zoomed
        assert tab.num_removed() == 0
        assert not [text for text in tab.complaints if "_stcore" not in text]


def test_a_paused_page_stands_still(
    training: tuple[Path, subprocess.Popen[bytes]], chromium: Browser, start: Any, opened: Any
) -> None:
    with opened(chromium, start(training[0]).url) as tab:
        tab.page.goto(f"{tab.url}/metrics?pause=true")
        tab.chart(1).wait_for()
        tab.settle()
        before = len(tab.tables(0)["lines"])
        tab.page.wait_for_timeout(2_000)
        assert len(tab.tables(0)["lines"]) == before


def test_a_slow_browser_loses_no_turn_of_the_wheel(
    training: tuple[Path, subprocess.Popen[bytes]], chromium: Browser, start: Any, opened: Any
) -> None:
    with opened(chromium, start(training[0]).url) as tab:
        tab.page.goto(f"{tab.url}/metrics")
        tab.chart(1).wait_for()
        tab.page.wait_for_timeout(1_500)
        tab.watch()
        # Now the page asks for new rows before it has heard of the address that its last zoom made.
        tab.page.context.new_cdp_session(tab.page).send("Emulation.setCPUThrottlingRate", {"rate": 10})
        links = set()
        for turn in (1, 1, -1, 1, 1, -1):
            tab.wheel(0, turn)
            tab.page.wait_for_timeout(900)
            links.add(tab.page.url)
        tab.page.wait_for_timeout(3_000)
        assert len(links) > 2
        assert tab.window(0) == tab.window(1)
        low, high, _ = tab.page.url.partition("zoom=")[2].split("%2C")
        assert tab.window(0) == (float(low), float(high))
        assert tab.num_removed() == 0
