"""One zoom for all charts of the Metrics page: exact rows, the link, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.app.metrics_page import captions, charts, table, zoom_to

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]


def test_a_zoom_draws_exact_rows_in_all_charts_and_goes_to_the_link(open_app: OpenApp, make_run: MakeRun) -> None:
    values = np.random.default_rng(0).standard_normal(40_000).cumsum()
    make_run(series={"a/loss": values, "a/other": -values})
    app = open_app("metrics")
    before = charts(app)
    assert "per pixel" in captions(app)
    zoom_to(app, before[0], 20_000.5, 20_100.5)
    after = charts(app)
    for chart, sign in zip(after, (1, -1), strict=True):
        lines = table(chart, "lines").set_index("x").loc[20_001:20_100]
        np.testing.assert_allclose(lines.y, sign * values[20_001:20_101], rtol=1e-6)
        view = table(chart, "view").iloc[0]
        assert (view.x_low, view.x_high) == (20_000.5, 20_100.5)
    assert app.query_params["zoom"] == "20000.5,20100.5,step"
    assert "100 points · every point" in captions(app)


def test_only_data_change_with_the_window(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": np.random.default_rng(0).standard_normal(40_000)})
    app = open_app("metrics")
    before = charts(app)[0]
    key, spec, alt = before.id, before.spec, before.alt
    after = charts(zoom_to(app, before, 100.0, 30_000.0))[0]
    assert (after.id, after.spec, after.alt) == (key, spec, alt)


def test_a_link_opens_zoomed_and_reset_shows_everything(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": np.arange(1000.0)})
    app = open_app("metrics", zoom="100,200,step")
    assert table(charts(app)[0], "view").x_high[0] == 200
    next(one for one in app.button if one.label == "Reset zoom").click().run()
    assert table(charts(app)[0], "view").x_high[0] == 999
    assert "zoom" not in app.query_params


def test_a_window_of_a_second_of_wall_time_stays_the_same_window(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": np.arange(1000.0)})
    app = open_app("metrics", x="wall")
    chart = charts(app)[0]
    low = table(chart, "view").x_low[0] + 1234.5
    zoom_to(app, chart, low, low + 1000.0)
    app.run()
    assert charts(app)[0].id == chart.id
    assert table(charts(app)[0], "view").x_low[0] == low


def test_a_chart_that_was_zoomed_before_another_one_follows_it(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"a": np.arange(1000.0), "b": np.arange(1000.0)})
    app = open_app("metrics")
    first, second = charts(app)
    zoom_to(app, first, 100, 200)
    zoom_to(app, second, 300, 400)
    assert [table(chart, "view").x_low[0] for chart in charts(app)] == [300, 300]
    assert charts(app)[0].id != first.id  # the only way to take the old zoom away
    assert charts(app)[1].id == second.id


def test_another_x_axis_forgets_the_zoom(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": np.arange(1000.0)})
    app = open_app("metrics", zoom="100,200,step")
    axis = next(box for box in app.selectbox if box.label == "X axis")
    axis.set_value("relative").run()
    assert table(charts(app)[0], "view").x_low[0] == 0
    assert "zoom" not in app.query_params


@pytest.mark.parametrize("text", ["1,1,step", "nan,2,step", "1e400,0,step", "a,b,step", "1,2", "1,2,other"])
def test_a_bad_zoom_in_a_link_shows_everything(text: str, open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": np.arange(10.0)})
    app = open_app("metrics", zoom=text)
    assert not app.exception
    assert table(charts(app)[0], "view").x_high[0] == 9


@pytest.mark.parametrize("text", ["-50,500,step", "-50,-5,step", "5000,6000,step", "1e14,9e14,step"])
def test_a_window_beyond_the_data_or_a_logarithmic_axis_is_no_error(
    text: str, open_app: OpenApp, make_run: MakeRun
) -> None:
    make_run(series={"loss": np.arange(1.0, 1000.0)})
    for query in ({}, {"logx": "true", "logy": "true"}, {"group": "group"}):
        app = open_app("metrics", zoom=text, **query)
        assert not app.exception
        assert not app.error
        view = table(charts(app)[0], "view").iloc[0]
        assert view.x_low < view.x_high
        assert np.isfinite(view).all()
