"""Zooming with the mouse: the rows of the window, exactly, in all charts, and nothing flickers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np


def assert_rows_are_exact(tab: Any, recorded: Any, timeout_s: float = 15.0) -> None:
    """Every vertex of the raw lines is a recorded value, and inside the window none is missing when all are drawn.

    Waits for that: the charts of a page get their exact rows one after the other, late on a busy machine.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            _check_rows(tab, recorded)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            tab.page.wait_for_timeout(250)
        else:
            return


def _check_rows(tab: Any, recorded: Any) -> None:
    low, high = tab.window()
    lines = tab.tables(1)["lines"]
    for run in range(3):
        found = lines[lines.series == f"run {run}"]
        np.testing.assert_allclose(found.y, recorded.loss(found.x.to_numpy(), run), rtol=1e-5)
        if ("low" not in found or found.low.isna().all()) and high - low < 400:
            inside = np.arange(np.ceil(low), np.floor(high) + 1)
            np.testing.assert_array_equal(found.x[(found.x >= low) & (found.x <= high)], inside)


def test_the_wheel_with_ctrl_draws_the_exact_rows_of_the_window_in_all_charts(tab: Any, recorded: Any) -> None:
    tab.open("metrics")
    assert tab.window(0) == (0, recorded.num_steps - 1)
    tab.watch()
    tab.act(lambda: tab.wheel(0, 2))
    low, high = tab.window(0)
    assert high - low < 0.6 * recorded.num_steps
    assert tab.window(1) == (low, high)
    assert_rows_are_exact(tab, recorded)
    for _ in range(5):  # a browser may merge turns of the wheel that come quickly
        tab.act(lambda: tab.wheel(0, 6))
        low, high = tab.window(0)
        if high - low < 400:
            break
    assert high - low < 400
    assert_rows_are_exact(tab, recorded)
    assert tab.window(1) == (low, high)
    assert any("every point" in caption for caption in tab.captions())
    assert tab.num_removed() == 0
    assert "zoom=" in tab.page.url


def test_dragging_moves_the_window_and_a_double_click_shows_everything(tab: Any, recorded: Any) -> None:
    tab.open("metrics?zoom=8000,8200,step")
    assert tab.window(1) == (8000, 8200)
    tab.watch()
    tab.act(lambda: tab.drag(1, -120))
    low, high = tab.window(1)
    assert low > 8010
    assert abs(high - low - 200) < 1e-6
    assert_rows_are_exact(tab, recorded)
    tab.act(lambda: tab.page.mouse.dblclick(*tab.middle(1)))
    assert tab.window(1) == tab.window(0) == (0, recorded.num_steps - 1)
    assert tab.num_removed() == 0
    assert "zoom=" not in tab.page.url


def test_the_wheel_alone_scrolls_the_page(tab: Any, recorded: Any) -> None:
    tab.open("metrics")
    tab.wheel(0, -5, key=None)
    tab.settle()
    assert tab.window(0) == (0, recorded.num_steps - 1)
    assert "zoom=" not in tab.page.url


def test_another_chart_takes_the_zoom_over_and_reset_undoes_it(tab: Any, recorded: Any) -> None:
    tab.open("metrics")
    tab.act(lambda: tab.wheel(0, 2))
    tab.act(lambda: tab.wheel(1, 2))
    assert tab.window(-1) == tab.window(-2)
    tab.watch()
    tab.act(lambda: tab.page.get_by_role("button", name="Reset zoom").click())
    assert "zoom=" not in tab.page.url


def test_the_tooltip_tells_all_series_at_that_step(tab: Any, recorded: Any) -> None:
    tab.open("metrics?zoom=100,140,step")
    tab.page.mouse.move(*tab.middle(1))
    rows = tab.tooltip()
    step = int(rows["step"])
    for run in range(3):
        assert float(rows[f"run {run}"]) == float(f"{recorded.loss(np.array([step]), run)[0]:.5g}")
