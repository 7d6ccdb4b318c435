"""The axes of the Metrics page: what stands on them, how far they reach, what they cannot show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest

from tests.app.metrics_page import captions, charts, spec_of, table

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]


def test_time_since_the_start_and_wall_time_come_from_the_clock(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [1.0, 2.0, 3.0]})
    relative = table(charts(open_app("metrics", x="relative"))[0], "lines")
    np.testing.assert_allclose(relative.x, [0, 0.25, 0.5])
    wall = table(charts(open_app("metrics", x="wall"))[0], "lines")
    assert pd.to_datetime(wall.x, unit="ms").iloc[1] == pd.Timestamp("2026-03-01 09:00:00.250")


def test_any_metric_can_be_the_x_axis_and_the_latest_earlier_value_counts(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [4.0, 3.0, 2.0, 1.0], "epoch": [0.0, 0.0, 1.0]})
    for link in ("epoch", "metric:epoch"):
        lines = table(charts(open_app("metrics", x=link, q="loss"))[0], "lines")
        assert lines[["x", "y"]].to_numpy().tolist() == [[0, 4], [0, 3], [1, 2], [1, 1]]


def test_a_run_without_the_x_metric_is_left_out_and_counted(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", series={"loss": [4.0, 3.0], "epoch": [0.0, 1.0]})
    make_run("b", series={"loss": [4.0, 3.0]})
    app = open_app("metrics", x="epoch", q="loss")
    assert "1 run has no such x" in captions(app)


def test_an_unknown_x_axis_in_a_link_falls_back_to_steps(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("metrics", x="metric:../../etc")
    assert not app.exception
    assert spec_of(charts(app)[0])["layer"][0]["encoding"]["x"]["axis"]["title"] == "step"
    assert "Steps are shown" in app.info[0].value


def test_logarithmic_axes_say_what_they_cannot_show(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [4.0, -3.0, 0.0, 1.0]})
    app = open_app("metrics", logx="true", logy="true")
    chart = charts(app)[0]
    lines = table(chart, "lines")
    assert lines.dropna(subset="y")[["x", "y"]].to_numpy().tolist() == [[3, 1]]
    assert "3 points at or below 0 not on the logarithmic axis" in captions(app)
    view = table(chart, "view").iloc[0]
    assert view.x_low == 1
    assert view.y_low > 0


def test_outliers_are_outside_the_axis_and_counted_only_when_asked_for(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [*np.linspace(1, 2, 99), 1000.0]})
    assert table(charts(open_app("metrics"))[0], "view").y_high[0] > 1000
    app = open_app("metrics", y="middle")
    assert table(charts(app)[0], "view").y_high[0] < 3
    assert "1 of 100 points outside the y axis" in captions(app)


def test_a_run_that_diverged_does_not_flatten_the_others_unless_asked_for(open_app: OpenApp, make_run: MakeRun) -> None:
    for _ in range(3):
        make_run(series={"loss": [2.0, 1.0, 0.5]})
    make_run(series={"loss": [2.0, 50.0, 1e12]})
    app = open_app("metrics")
    assert 2 < table(charts(app)[0], "view").y_high[0] < 3
    assert "2 of 12 points outside the y axis" in captions(app)
    assert table(charts(open_app("metrics", y="all"))[0], "view").y_high[0] > 1e12


def test_a_spike_of_a_single_run_is_inside_the_axis(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [1.0, 1.1, 1e9, 1.0]})
    assert table(charts(open_app("metrics"))[0], "view").y_high[0] > 1e9


def test_values_at_the_ends_of_double_precision_are_drawn(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [1e308, -1e308, 5e-324, 0.0], "same": [1e300] * 4, "tiny": [5e-324] * 4})
    for query in ({}, {"logy": "true"}, {"y": "middle"}, {"y": "all"}, {"smooth": "0.5"}, {"group": "group"}):
        app = open_app("metrics", **query)
        assert not app.exception
        assert not app.error
        for chart in charts(app):
            view = table(chart, "view").iloc[0]
            assert np.isfinite(view).all()
            assert view.y_low < view.y_high
