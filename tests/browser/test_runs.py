"""The Runs page with a real mouse: select, sort, go back, save, follow a training, and names that try to do harm."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from explorer import Recorder

ROW_PX = 34
HOSTILE = [
    "![x](http://127.0.0.1:9/image.png)",
    "[click](http://127.0.0.1:9/link)",
    "<img src=http://127.0.0.1:9/tag.png onerror=alert(1)>",
    "http://127.0.0.1:9/bare",
    "www.example.com",
    "me@example.com",
    ":material/home: :red[red] :streamlit:",
    "$x^2$ `code` **bold**",
]


def record(root: Path, name: str, lr: float = 0.1) -> str:
    with Recorder(name, config={"lr": lr}, root=root, system_every_s=None) as run:
        for step in range(20):
            run.log({"train/loss": 1 / (1 + step) + lr}, step=step)
    time.sleep(0.01)  # so that the order by time of creation is that of recording
    return run.run_id


def corner(tab: Any) -> tuple[float, float]:
    box = tab.page.get_by_test_id("stDataFrame").bounding_box()
    return box["x"], box["y"]


def check_row(tab: Any, row: int) -> None:
    x, y = corner(tab)
    tab.act(lambda: tab.page.mouse.click(x + 15, y + 16 + ROW_PX * (row + 1)))


def columns(tab: Any) -> list[str]:
    return tab.page.locator('[data-testid="stDataFrame"] canvas [role="columnheader"]').all_text_contents()


def cells(tab: Any, column: str) -> list[str]:
    number = [name.rstrip(" ↑↓") for name in columns(tab)].index(column) + 1
    return tab.page.locator(
        f'[data-testid="stDataFrame"] canvas [role="gridcell"][aria-colindex="{number}"]'
    ).all_text_contents()


def linked_runs(tab: Any) -> list[str]:
    return [unquote(run) for run in parse_qs(urlsplit(tab.page.url).query).get("runs", [""])[0].split(",") if run]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def test_selecting_runs_writes_the_link_and_the_back_button_takes_it_back(
    chromium: Any, start: Any, opened: Any, root: Path
) -> None:
    ids = [record(root, name) for name in ("first", "second", "third")]
    with opened(chromium, start(root).url) as tab:
        tab.open("")
        assert linked_runs(tab) == []
        check_row(tab, 0)
        assert linked_runs(tab) == [ids[2]]
        check_row(tab, 2)
        assert linked_runs(tab) == [ids[2], ids[0]]
        tab.act(tab.page.go_back)
        assert linked_runs(tab) == [ids[2]]
        assert "Selected runs 1" in tab.page.get_by_test_id("stSidebar").inner_text()
        tab.act(lambda: tab.page.get_by_role("link", name="Metrics").click())
        assert linked_runs(tab) == [ids[2]]
        assert tab.complaints == []


def test_a_click_on_a_header_sorts_and_the_csv_holds_the_rows_as_shown(
    chromium: Any, start: Any, opened: Any, root: Path, tmp_path: Path
) -> None:
    for lr in (0.2, 0.1, 0.3):
        record(root, f"=lr {lr}", lr)
    with opened(chromium, start(root).url) as tab:
        tab.open("?cols=config.lr,name,last.train/loss&trend=none")
        x, y = corner(tab)
        tab.act(lambda: tab.page.mouse.click(x + 500, y + 16))
        tab.settle()
        sort = parse_qs(urlsplit(tab.page.url).query)["sort"][0]
        assert sort in ("config.lr", "last.train/loss")
        with tab.page.expect_download() as download:
            tab.page.get_by_role("button", name="CSV", exact=True).click()
        rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert [row["config.lr"] for row in rows] == ["0.1", "0.2", "0.3"]
        assert [row["name"] for row in rows] == ["'=lr 0.1", "'=lr 0.2", "'=lr 0.3"]
        assert list(rows[0])[:3] == ["config.lr", "name", "last.train/loss"]


def test_the_table_stays_where_it_is_under_notices_and_its_toolbar_leaves_the_buttons_free(
    chromium: Any, start: Any, opened: Any, root: Path
) -> None:
    for name in ("first", "second", "third"):
        record(root, name)
    with opened(chromium, start(root).url) as tab:
        tab.open("")
        x, y = corner(tab)
        check_row(tab, 1)
        tab.act(lambda: tab.page.get_by_role("button", name="Delete", exact=True).click())
        tab.page.get_by_role("button", name="Undo", exact=True).wait_for()
        assert corner(tab) == (x, y)
        tab.page.mouse.move(x + 100, y + 50)
        tab.page.wait_for_timeout(500)
        toolbar = tab.page.get_by_test_id("stElementToolbar").bounding_box()
        trash = tab.page.get_by_role("button", name="Trash", exact=True).bounding_box()
        assert trash["y"] + trash["height"] <= toolbar["y"]
        tab.act(lambda: tab.page.get_by_placeholder("Search names").press_sequentially("fir"))
        tab.settle()
        assert cells(tab, "Run") == ["first"]  # without Enter


def test_a_running_training_moves_its_row_and_keeps_selection_and_table(
    chromium: Any, start: Any, opened: Any, root: Path
) -> None:
    finished = record(root, "finished")
    with (
        Recorder("live", root=root, system_every_s=None) as run,
        opened(chromium, start(root).url) as tab,
    ):
        run.log({"train/loss": 1.0}, step=0)
        time.sleep(1.0)
        tab.open("")
        check_row(tab, 1)
        assert cells(tab, "State")[0].startswith("running")
        tab.watch()
        run.log({"train/loss": 0.5}, step=77)
        wait_until(lambda: "77" in cells(tab, "Last step"))
        assert linked_runs(tab) == [finished]
        assert tab.num_removed() == 0
        run.close()
        wait_until(lambda: cells(tab, "State")[0].startswith("finished"))
        assert linked_runs(tab) == [finished]
        assert tab.num_removed() == 0
        assert tab.complaints == []


def test_the_first_run_opens_the_table_by_itself(chromium: Any, start: Any, opened: Any, root: Path) -> None:
    with opened(chromium, start(root).url) as tab:
        tab.open("")
        assert tab.page.get_by_role("heading", name="Nothing recorded yet").is_visible()
        record(root, "first")
        tab.page.get_by_test_id("stDataFrame").wait_for(timeout=15_000)
        wait_until(lambda: "Run" in columns(tab))
        assert cells(tab, "Run") == ["first"]


def test_names_from_files_are_never_links_pictures_or_requests(
    chromium: Any, start: Any, opened: Any, root: Path
) -> None:
    for name in HOSTILE:
        with Recorder(
            name, config={name: name}, root=root, tags=[name], notes=name, group=name, system_every_s=None
        ) as run:
            run.log({f"{name}/loss": 1.0}, step=0)
            run.log({f"{name}/loss": 0.5}, step=1)
    with opened(chromium, start(root).url) as tab:
        for path in ("", f"?runs={HOSTILE[0]}&filter={HOSTILE[2]}&cols={HOSTILE[1]}", "metrics", "compare", "run"):
            tab.open(path)
            frame = tab.page.get_by_test_id("stAppViewContainer")
            assert frame.locator("a[href*='127.0.0.1:9'], a[href*='example.com'], a[href^='mailto']").count() == 0, path
            assert frame.locator("img[src^='http']:not([src*='/media/'])").count() == 0, path
        tab.open("")
        check_row(tab, 0)
        tab.act(lambda: tab.page.get_by_role("button", name="Edit", exact=True).click())
        tab.act(lambda: tab.page.get_by_role("button", name="Cancel").click())
        tab.act(lambda: tab.page.get_by_role("button", name="Delete", exact=True).click())
        tab.act(lambda: tab.page.get_by_role("button", name="Trash", exact=True).click())
        assert tab.page.get_by_role("dialog").locator("a[href^='http'], img[src^='http']").count() == 0
        hosts = {urlsplit(url).netloc for url in tab.requests if not url.startswith(("data:", "blob:"))}
        assert hosts == {urlsplit(tab.url).netloc}


def wait_until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
