"""The app in a headless Chromium: real runs, a real server, and what the page receives and draws."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, WebSocket, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from explorer import Recorder

PROJECT = Path(__file__).parents[2]
NUM_STEPS = 20_000

# Watches what a user would see as flicker, and whether the page is still busy.
WATCH = """
(() => {
  const seen = window.seen = {removed: 0, lastMessage: 0, lastSend: 0};
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', () => { seen.lastMessage = performance.now(); });
    }
    send(data) { seen.lastSend = performance.now(); return super.send(data); }
  };
  new MutationObserver(list => {
    for (const change of list) for (const node of change.removedNodes)
      if (node.querySelector && (node.matches('canvas') || node.querySelector('canvas'))) seen.removed++;
  }).observe(document, {subtree: true, childList: true});
})();
"""
IDLE = """quiet => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.getAttribute('data-test-script-state') === 'notRunning'
    && window.seen.lastMessage > window.seen.lastSend
    && performance.now() - window.seen.lastMessage > quiet;
}"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = find_chromium()
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium: install one, run `playwright install chromium`, or set CHROMIUM to its path")
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"Chromium does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@dataclass
class Tab:
    """One tab and everything that went through it."""

    page: Page
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    charts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Rows last sent for each chart by name of the table, under the chart's key."""

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/{path}")
        self.settle()

    def settle(self, quiet_ms: int = 450) -> None:
        """Wait until the script has ended and nothing was sent or received for a while."""
        self.page.wait_for_function(IDLE, arg=quiet_ms, timeout=30_000)

    def act(self, action: Callable[[], object], quiet_ms: int = 450) -> None:
        """Do something that the server has to answer, and wait for the answer to be drawn."""
        before = self.page.evaluate("performance.now()")
        action()
        self.page.wait_for_function("t => window.seen.lastSend > t && window.seen.lastMessage > t", arg=before)
        self.settle(quiet_ms)

    def watch(self) -> None:
        """Forget which canvases were taken away so far."""
        self.page.evaluate("() => { window.seen.removed = 0; }")

    def num_removed(self) -> int:
        """How many canvases were taken away since `watch`: each one is a flicker."""
        found: int = self.page.evaluate("() => window.seen.removed")
        return found

    def chart(self, number: int) -> Any:
        return self.page.locator('[data-testid="stVegaLiteChart"] canvas').nth(number)

    def middle(self, number: int) -> tuple[float, float]:
        box = self.chart(number).bounding_box()
        assert box is not None
        return box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.35

    def wheel(self, number: int, turns: int, key: str | None = "Control") -> None:
        """Turn the wheel over a chart, away from the user where `turns` is positive, while a key is held."""
        self.page.mouse.move(*self.middle(number))
        if key:
            self.page.keyboard.down(key)
        for _ in range(abs(turns)):
            self.page.mouse.wheel(0, -400 if turns > 0 else 400)
            self.page.wait_for_timeout(20)
        if key:
            self.page.keyboard.up(key)

    def drag(self, number: int, pixels: int) -> None:
        """Drag a chart to the right, or to the left where `pixels` is negative."""
        x, y = self.middle(number)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=4)
        self.page.mouse.up()

    def tables(self, number: int) -> dict[str, pd.DataFrame]:
        """The rows that the chart with this place on the page holds now."""
        found = list(self.charts.values())[number]
        return {name: pa.ipc.open_stream(data).read_all().to_pandas() for name, data in found.items()}

    def window(self, number: int = 0) -> tuple[float, float]:
        view = self.tables(number)["view"].iloc[0]
        return float(view.x_low), float(view.x_high)

    def tooltip(self) -> dict[str, str]:
        """What the tooltip says, by its keys."""
        shown = self.page.locator("#vg-tooltip-element.visible")
        shown.wait_for(state="visible")
        cells = shown.locator("td").all_inner_texts()
        return dict(zip(cells[::2], cells[1::2], strict=True))

    def captions(self) -> list[str]:
        return self.page.get_by_test_id("stCaptionContainer").all_inner_texts()

    def received(self, payload: str | bytes) -> None:
        message = ForwardMsg()
        message.ParseFromString(payload if isinstance(payload, bytes) else payload.encode())
        if message.WhichOneof("type") == "delta" and message.delta.new_element.WhichOneof("type") == "vega_lite_chart":
            chart = message.delta.new_element.vega_lite_chart
            self.charts[chart.id] = {data.name: data.data.data for data in chart.datasets}


class Server:
    """The app on one root, as `streamlit run` starts it."""

    def __init__(self, root: Path, log: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(self.port)]
        environment = {**os.environ, "EXPLORER_ROOT": str(root), "STREAMLIT_SERVER_HEADLESS": "true"}
        with log.open("w") as out:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdout=out, stderr=subprocess.STDOUT, env=environment
            )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        self.close()
        raise RuntimeError(f"the app did not start: {log.read_text()[-2000:]}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@dataclass(frozen=True)
class Recorded:
    """A root with three finished runs, and what they recorded."""

    root: Path
    num_steps: int = NUM_STEPS

    def loss(self, step: Any, run: int) -> Any:
        """What run number `run` recorded as `train/loss`: a decay with a wave that every window shows."""
        return 2.0 / (1 + step / (2_000 + 500 * run)) + 0.1 * np.sin(step * 0.7 + run)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    made = Recorded(tmp_path_factory.mktemp("browser") / "logs")
    root = made.root
    step = np.arange(NUM_STEPS)
    for run in range(3):
        values = made.loss(step, run)
        with Recorder(f"run {run}", config={"lr": 0.1 / (run + 1)}, root=root, system_every_s=None) as recorder:
            for at in range(NUM_STEPS):
                recorder.log({"train/loss": float(values[at]), "train/accuracy": 1 - float(values[at]) / 3}, step=at)
    return made


@pytest.fixture(scope="session")
def server(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(recorded.root, tmp_path_factory.mktemp("server") / "log.txt")
    yield running
    running.close()


@pytest.fixture(scope="session")
def server_class() -> type[Server]:
    """The app on a root that a module makes for itself."""
    return Server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path], Server]]:
    """Start the app on a root of one's own; it ends with the test."""
    running: list[Server] = []

    def make(root: Path) -> Server:
        running.append(Server(root, tmp_path / f"server-{len(running)}.txt"))
        return running[-1]

    yield make
    for one in running:
        one.close()


@contextmanager
def open_tab(chromium: Browser, url: str, scheme: str = "light") -> Iterator[Tab]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    context.add_init_script(WATCH)
    context.set_default_timeout(10_000)
    page = context.new_page()
    tab = Tab(page, url)

    def on_request(request: Request) -> None:
        tab.requests.append(request.url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            tab.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def on_socket(found: WebSocket) -> None:
        found.on("framereceived", tab.received)

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    page.on("websocket", on_socket)
    yield tab
    context.close()


@pytest.fixture
def tab(chromium: Browser, server: Server) -> Iterator[Tab]:
    with open_tab(chromium, server.url) as found:
        yield found


@pytest.fixture
def opened() -> Callable[..., AbstractContextManager[Tab]]:
    """Open a tab with `chromium`, an address and a colour scheme."""
    return open_tab
