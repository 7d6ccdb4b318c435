"""A model that is being trained: every tab about its inside follows, without a flicker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Server

TRAINING = """
import sys, time
import torch
from torch import nn
from explorer import Recorder

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
inputs, probe = torch.randn(64, 16), torch.randn(32, 16)
with Recorder("live", root=sys.argv[1], quiet=True, system_every_s=None) as recorder:
    recorder.watch(model, optimizer, schedule=1)
    for step in range(100_000):
        if step % 8 == 0:
            recorder.snapshot(model, step)
            recorder.probe(model, probe, step)
        loss = nn.functional.cross_entropy(model(inputs), torch.arange(64) % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recorder.log({"loss": loss.item()}, step=step)
        time.sleep(0.15)
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a root in which a training is going on and has written a few snapshots."""
    root = tmp_path_factory.mktemp("live") / "logs"
    project = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", TRAINING, str(root)], cwd=project, stderr=subprocess.DEVNULL)
    server = Server(root, tmp_path_factory.mktemp("server") / "log.txt")
    yield server
    server.close()
    process.kill()
    process.wait(10)


def wait_for_new_rows(tab: Any, before: dict[str, Any]) -> None:
    """Wait until a chart holds other rows than before, and then until they are drawn."""
    for _ in range(80):
        if [key for key in before if tab.charts[key] != before[key]]:
            tab.page.wait_for_timeout(500)
            return
        tab.page.wait_for_timeout(250)
    raise AssertionError("no chart got new rows within 20 s")


@pytest.mark.parametrize(
    "path",
    [
        "layers",
        "layers?tab=Update+ratio",
        "layers?tab=Gradient+flow",
        "layers?tab=Compare",
        "layers?tab=Compare&mode=steps",
        "layers?tab=Weights",
        "layers?tab=Spectra&tensor=0.weight",
        "layers?tab=Path",
        "layers?tab=CKA",
        "weights?tensor=0.weight",
        "distributions",
    ],
)
def test_what_is_recorded_appears_in_the_same_chart(live: Server, chromium: Browser, opened: Any, path: str) -> None:
    with opened(chromium, live.url) as tab:
        for _ in range(40):  # until the training has recorded what this tab shows
            tab.open(path)
            if tab.page.locator('[data-testid="stVegaLiteChart"] canvas').count():
                break
            tab.page.wait_for_timeout(500)
        tab.page.wait_for_timeout(1_500)
        tab.watch()
        before = {key: dict(tables) for key, tables in tab.charts.items()}
        link = tab.page.url
        wait_for_new_rows(tab, before)
        assert set(tab.charts) == set(before)
        assert tab.num_removed() == 0
        assert tab.page.url == link
        assert not [text for text in tab.complaints if "404" not in text]


def test_a_step_that_was_chosen_stays_while_the_run_grows(live: Server, chromium: Browser, opened: Any) -> None:
    with opened(chromium, live.url) as tab:
        tab.open("layers?tab=Gradient+flow&at=3")
        tab.page.get_by_text("Gradient norm by depth, step 3", exact=True).wait_for(timeout=20_000)
        wait_for_new_rows(tab, dict(tab.charts))
        assert tab.page.get_by_text("Gradient norm by depth, step 3", exact=True).is_visible()
