"""The page Inference in a browser: from a click to the changed result as it is drawn on the screen.

`python -m benchmarks.inference_browser ROOT REPEATS` is one trial: it prints one line of JSON, milliseconds by kind.
Chromium is found on the path, or is what the variable CHROMIUM names.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.streamlit_session import server
from benchmarks.trials import REPOSITORY

KINDS = ("step", "example", "edit", "undo")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Notes when the user acts, when the bars of the output are painted (Vega paints its canvas anew as a whole), when the
# numbers above them change (the first chart and the first two numbers of the page are the output's), and when the page
# last heard of the server.
WATCH = """
(() => {
  const seen = window.seen = {acted: 0, painted: 0, told: 0, heard: 0, sent: 0};
  const now = () => performance.now();
  for (const kind of ['click', 'keydown'])
    document.addEventListener(kind, () => { seen.acted = now(); }, true);
  const chart = () => document.querySelector('[data-testid="stVegaLiteChart"]');
  for (const call of ['fill', 'fillText', 'stroke', 'clearRect', 'fillRect']) {
    const plain = CanvasRenderingContext2D.prototype[call];
    CanvasRenderingContext2D.prototype[call] = function (...args) {
      if (chart()?.contains(this.canvas)) seen.painted = now();
      return plain.apply(this, args);
    };
  }
  let before = '';
  new MutationObserver(() => {
    const found = [...document.querySelectorAll('[data-testid="stMetric"]')].slice(0, 2);
    const text = found.map(metric => metric.innerText).join();
    if (text !== before) seen.told = now();
    before = text;
  }).observe(document, {subtree: true, childList: true, characterData: true});
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', () => { seen.heard = now(); });
    }
    send(data) { seen.sent = now(); return super.send(data); }
  };
})();
"""
IDLE = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.getAttribute('data-test-script-state') === 'notRunning' && window.seen.heard > window.seen.sent
    && window.seen.sent > window.seen.acted
    && performance.now() - Math.max(window.seen.heard, window.seen.painted) > 600;
}"""


def measure(url: str, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of action, from the event that the page gets to the last paint of bars and numbers.

    What is below them, such as the effect on all examples, comes later and does not count.
    """
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(f"{url}/inference")
        page.locator('[data-testid="stVegaLiteChart"] canvas').first.wait_for(timeout=120_000)
        page.wait_for_function(IDLE, timeout=60_000)
        slider = page.get_by_role("slider", name="Weights of step")
        example = page.get_by_role("combobox", name="Recorded example")
        add, undo = (page.get_by_role("button", name=name) for name in ("Add this edit", "Undo the last"))
        for repeat in range(repeats + 1):  # the first round is not counted: what the browser compiles, it keeps
            times = {"step": _act(page, lambda: slider.press("ArrowLeft"))}
            example.click()
            times["example"] = _act(page, page.get_by_role("option").nth(1 + repeat % 8).click)
            times["edit"], times["undo"] = _act(page, add.click), _act(page, undo.click)
            for kind, value in times.items() if repeat else ():
                found[kind].append(value)
        browser.close()
    return found


def _act(page: Page, action: Callable[[], Any]) -> float:
    action()
    page.wait_for_function(IDLE, timeout=60_000)
    return _drawn_ms(page)


def _drawn_ms(page: Page) -> float:
    seen: dict[str, float] = page.evaluate("() => window.seen")
    if max(seen["painted"], seen["told"]) <= seen["acted"]:
        raise ValueError("nothing was drawn after the click")
    return max(seen["painted"], seen["told"]) - seen["acted"]


if __name__ == "__main__":
    os.environ["EXPLORER_ROOT"] = sys.argv[1]
    with server(REPOSITORY / "streamlit_app.py") as (_, port):
        print(json.dumps(measure(f"http://127.0.0.1:{port}", int(sys.argv[2]))))
