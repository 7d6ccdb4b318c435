"""What holds on every page: links, themes, nothing but this machine, nothing that a name can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from explorer import Recorder

PAGES = ("", "metrics", "run", "compare", "distributions", "drift")
# Streamlit asks for these below the address of a page before it asks at the root, when a page is opened directly.
OWN_PROBES = ("/_stcore/health", "/_stcore/host-config")
# The first run's colour in the theme (.streamlit/config.toml), and the background of the page.
THEMES = {"light": ((29, 95, 209), (255, 255, 255)), "dark": ((106, 169, 255), (16, 21, 29))}


def strangers(requests: list[str]) -> list[str]:
    return [url for url in requests if urlsplit(url).hostname not in ("127.0.0.1", "localhost", None)]


def own_complaints(complaints: list[str]) -> list[str]:
    return [text for text in complaints if not any(probe in text for probe in OWN_PROBES)]


def test_no_page_asks_another_machine_or_complains(tab: Any) -> None:
    for page in PAGES:
        tab.open(page)
        assert tab.page.get_by_role("heading").first.is_visible()
    assert strangers(tab.requests) == []
    assert own_complaints(tab.complaints) == []


def test_a_deep_link_opens_the_same_state_and_the_way_back_leads_to_it(tab: Any) -> None:
    tab.open("metrics?q=loss&smooth=0.5&logy=true&zoom=100,300,step")
    link = tab.page.url
    assert len(tab.charts) == 1
    assert tab.window(0) == (100, 300)
    assert "smooth" in tab.tables(0)["lines"]
    tab.act(lambda: tab.page.get_by_role("link", name="Compare").click())
    assert "zoom" not in tab.page.url
    tab.act(tab.page.go_back)
    assert tab.page.url == link
    assert tab.page.get_by_role("searchbox", name="Search metrics").input_value() == "loss"
    assert tab.window(0) == (100, 300)
    tab.act(lambda: tab.page.get_by_role("link", name="Runs").click())
    tab.act(lambda: tab.page.get_by_role("link", name="Metrics").click())
    assert tab.page.get_by_role("searchbox", name="Search metrics").input_value() == "loss"
    assert "zoom=" in tab.page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_with_their_own_colours(
    scheme: str, chromium: Browser, server: Any, opened: Any
) -> None:
    colour, background = THEMES[scheme]
    with opened(chromium, server.url, scheme) as tab:
        tab.open("metrics")
        found = tab.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        assert found == f"rgb{background}"
        drawn = tab.chart(0).evaluate(
            """(canvas, wanted) => {
              const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
              let count = 0;
              for (let i = 0; i < data.length; i += 4)
                if (data[i + 3] > 250 && wanted.every((value, k) => Math.abs(data[i + k] - value) < 4)) count++;
              return count;
            }""",
            list(colour),
        )
        assert drawn > 50


def test_names_from_files_make_no_links_images_or_requests(
    tmp_path: Path, chromium: Browser, start: Any, opened: Any
) -> None:
    name = (
        "[a](http://evil.example) ![b](http://evil.example/b.png) <img src=http://evil.example/c.png> www.evil.example"
    )
    root = tmp_path / "logs"
    for run in range(2):
        with Recorder(name, config={name: run}, group=name, root=root, system_every_s=None) as recorder:
            for step in range(5):
                recorder.log({name: step, "image": step, "title": step}, step=step)
    with opened(chromium, start(root).url) as tab:
        for page in (f"metrics?group=config:{name}", f"metrics?x=metric:{name}", "run", "compare"):
            tab.open(page)
            assert tab.page.locator("a[href*=evil], img[src*=evil]").count() == 0
        tab.open("metrics")
        tab.page.mouse.move(*tab.middle(0))
        tab.tooltip()
        assert tab.page.locator("a[href*=evil], img[src*=evil]").count() == 0
        assert strangers(tab.requests) == []
