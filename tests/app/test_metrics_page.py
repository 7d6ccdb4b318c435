"""The Metrics page: every metric of the selected runs as a curve."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from explorer.storage.layout import list_segments

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]

HOSTILE = "[click](http://evil.example) ![i](http://evil.example/x.png) <b>x</b> :red[hi] $x$ a'b]\"c"


def charts(app: AppTest) -> list[Any]:
    return [element.proto for element in app.get("vega_lite_chart")]


def spec_of(chart: Any) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(chart.spec)
    return spec


def table(chart: Any, name: str) -> pd.DataFrame:
    data = next(found.data.data for found in chart.datasets if found.name == name)
    return pa.ipc.open_stream(data).read_all().to_pandas()


def num_bytes(chart: Any) -> int:
    return sum(len(found.data.data) for found in chart.datasets)


def titles(app: AppTest) -> list[str]:
    return [element.value for element in app.markdown if element.value.startswith("**")]


def captions(app: AppTest) -> str:
    return "\n".join(element.value.replace("\\", "") for element in app.caption)


def zoom_to(app: AppTest, chart: Any, low: float, high: float) -> AppTest:
    app.session_state[chart.id.rsplit("-", 1)[-1]] = {"selection": {"zoom": {"x": [low, high]}}}
    return app.run()


def button(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


# What there is to see


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("metrics")
    assert not app.exception
    assert "no runs" in app.info[0].value


def test_no_selected_run_says_where_to_select(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("metrics", runs="none")
    assert not app.exception
    assert "No run is selected" in app.info[0].value


def test_a_run_that_has_recorded_nothing_says_so(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={})
    app = open_app("metrics")
    assert not app.exception
    assert "recorded no metrics" in app.info[0].value


def test_every_value_of_short_runs_is_drawn_under_its_label(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", series={"train/loss": [3.0, 2.0, 1.0]})
    make_run("b", series={"train/loss": [5.0, 4.0]})
    app = open_app("metrics")
    lines = table(charts(app)[0], "lines")
    assert lines[lines.series == "a"][["x", "y"]].to_numpy().tolist() == [[0, 3], [1, 2], [2, 1]]
    assert lines[lines.series == "b"][["x", "y"]].to_numpy().tolist() == [[0, 5], [1, 4]]
    assert "2 runs · 5 points · every point" in captions(app)


def test_metrics_stand_in_sections_by_prefix_with_the_ones_that_matter_first(
    open_app: OpenApp, make_run: MakeRun
) -> None:
    names = ["zeta/a", "val/loss", "train/loss", "lr", "layer/10/x", "layer/9/x"]
    make_run(series={name: [1.0, 2.0] for name in names})
    app = open_app("metrics")
    assert [box.label.split("**")[1] for box in app.expander] == ["train", "val", "Other metrics", "layer", "zeta"]
    found = [title.strip("*").replace("\\", "") for title in titles(app) if "Selected" not in title]
    assert [name for name in found if name in names] == [
        "train/loss",
        "val/loss",
        "lr",
        "layer/9/x",
        "layer/10/x",
        "zeta/a",
    ]


def test_many_metrics_draw_only_one_page_of_the_first_section(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={f"{prefix}/{k}": [1.0, 2.0] for prefix in "abc" for k in range(100)})
    app = open_app("metrics")
    assert len(app.expander) == 3
    assert len(charts(app)) == 12


def test_a_link_opens_a_section_and_turns_its_page(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={f"{prefix}/{k}": [1.0, 2.0] for prefix in "ab" for k in range(30)})
    app = open_app("metrics", open="b", turn="3:b")
    assert len(charts(app)) == 18
    assert "**b/24**" in [title.replace("\\", "") for title in titles(app)]


# Search


def test_a_regular_expression_finds_metrics_in_all_sections(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"train/loss": [1.0], "val/LOSS": [1.0], "val/acc": [1.0]})
    app = open_app("metrics", q="loss$")
    assert len(charts(app)) == 2
    assert "2 of 3 metrics" in captions(app)


def test_a_broken_expression_is_named_and_everything_is_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"train/loss": [1.0], "val/acc": [1.0]})
    app = open_app("metrics", q="(loss")
    assert not app.exception
    assert "is not a regular expression" in app.warning[0].value
    assert len(charts(app)) == 2


def test_an_expression_that_finds_nothing_says_so(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("metrics", q="nothing")
    assert "None of the 1 metrics matches" in app.info[0].value


# Axes


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


def test_an_unknown_grouping_in_a_link_is_named_and_single_runs_are_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", config={"lr": 0.1})
    app = open_app("metrics", group="config:nothing")
    assert "None of the selected runs has nothing" in app.info[0].value
    assert list(table(charts(app)[0], "lines").series.unique()) == ["a"]


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


# Values that are not finite


def test_nan_and_infinities_are_marks_and_counted(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [1.0, np.nan, np.inf, -np.inf, np.nan, 2.0]})
    app = open_app("metrics")
    marks = table(charts(app)[0], "marks")
    assert set(zip(marks.x, marks.kind, strict=True)) >= {(1, "NaN"), (2, "+Inf"), (3, "-Inf")}
    assert "2 NaN and 2 Inf marked at the bottom" in captions(app)
    assert table(charts(app)[0], "lines").y.isna().sum() == 4


def test_a_series_of_nan_alone_still_draws_its_marks(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [np.nan, np.nan]})
    app = open_app("metrics")
    assert not app.exception
    assert len(table(charts(app)[0], "marks")) == 2


# Smoothing and means


def test_the_smoothed_line_is_what_pandas_computes_and_the_raw_one_stays(open_app: OpenApp, make_run: MakeRun) -> None:
    values = np.random.default_rng(0).standard_normal(50)
    make_run(series={"loss": values})
    app = open_app("metrics", smooth="0.5")
    lines = table(charts(app)[0], "lines")
    expected = pd.Series(values).ewm(halflife=1.0).mean()
    np.testing.assert_allclose(lines.smooth, expected, rtol=1e-5)
    np.testing.assert_allclose(lines.y, values, rtol=1e-6)
    assert "half-life 1 steps" in captions(app)


def test_the_y_axis_holds_a_smoothed_line_that_lags_behind_the_raw_one(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": 10.0 - np.arange(100) / 10})
    app = open_app("metrics", smooth="0.9", zoom="50,80,step")
    chart = charts(app)[0]
    lines = table(chart, "lines").set_index("x").loc[50:80]
    assert lines.smooth.max() > lines.y.max()
    assert table(chart, "view").y_high[0] >= lines.smooth.max()


@pytest.mark.parametrize("text", ["nan", "x", "-1", "1e999", ""])
def test_a_bad_smoothing_in_a_link_does_nothing(text: str, open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("metrics", smooth=text)
    assert not app.exception
    assert "smooth" not in table(charts(app)[0], "lines")


def test_means_over_a_config_key_show_spread_and_how_many_runs(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", config={"opt": {"lr": 0.1}}, series={"loss": [2.0, 1.0]})
    make_run("b", config={"opt": {"lr": 0.1}}, series={"loss": [4.0, 3.0, 2.0]})
    make_run("c", config={"opt": {"lr": 0.01}}, series={"loss": [9.0, 9.0, 9.0]})
    app = open_app("metrics", group="config:opt.lr")
    lines = table(charts(app)[0], "lines")
    assert list(dict.fromkeys(lines.series)) == ["lr = 0.01 · 1 run", "lr = 0.1 · 2 runs"]
    two = lines[lines.series == "lr = 0.1 · 2 runs"]
    np.testing.assert_allclose(two.y, [3, 2, 2])
    np.testing.assert_allclose(two.high - two.low, [2 * np.sqrt(2), 2 * np.sqrt(2), 0], rtol=1e-6)
    texts = table(charts(app)[0], "hover").v1
    assert "n = 2" in texts[0]
    assert "n = 1" in texts[2]
    assert "mean ± 1 standard deviation of 2 groups of 3 runs" in captions(app)
    assert "each run linear between its own steps" in captions(app)


# Zoom


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
    button(app, "Reset zoom").click().run()
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


# Bounds


def test_a_chart_of_many_long_runs_stays_in_its_budget(open_app: OpenApp, make_run: MakeRun) -> None:
    rng = np.random.default_rng(0)
    for k in range(8):
        make_run(f"run {k}", series={"loss": rng.standard_normal(30_000).cumsum()})
    for query in ({}, {"smooth": "0.9"}, {"zoom": "1000,29000,step"}, {"group": "group"}):
        chart = charts(open_app("metrics", **query))[0]
        assert sum(len(table(chart, found.name)) for found in chart.datasets) <= 4_000
        assert num_bytes(chart) <= 100_000


def test_a_spike_is_never_lost(open_app: OpenApp, make_run: MakeRun) -> None:
    for k in range(8):
        values = np.zeros(30_000)
        values[12_345 + k] = 50.0 + k
        make_run(f"run {k}", series={"loss": values})
    lines = table(charts(open_app("metrics"))[0], "lines")
    assert lines.groupby("series", observed=True)["high"].max().to_dict() == {f"run {k}": 50.0 + k for k in range(8)}


# Damage and hostility


def test_a_damaged_file_is_named_and_the_rest_is_drawn(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    broken = make_run("broken", series={"loss": np.arange(100.0)})
    make_run("whole", series={"loss": np.arange(100.0)})
    file = list_segments(root / broken, "scalars")[0]
    data = bytearray(file.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.path.write_bytes(data)
    app = open_app("metrics")
    assert not app.exception
    assert file.path.name in app.warning[0].value.replace("\\", "")
    assert set(table(charts(app)[0], "lines").series) >= {"whole"}


def test_names_that_mean_something_to_markdown_or_vega_are_only_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(HOSTILE, config={HOSTILE: 1}, series={HOSTILE: [1.0, 2.0], "title": [1.0], "image": [1.0]}, group=HOSTILE)
    make_run("image", config={HOSTILE: 2}, series={"image": [1.0]})
    for query in ({}, {"group": "group"}, {"group": f"config:{HOSTILE}"}, {"x": f"metric:{HOSTILE}"}):
        app = open_app("metrics", **query)
        assert not app.exception
        assert not app.error
        shown = "\n".join(str(element.value) for kind in ("markdown", "caption") for element in app.get(kind))
        assert "](http" not in shown
        assert "<b>" not in shown
        for chart in charts(app):
            fields = json.dumps([layer["encoding"] for layer in spec_of(chart)["layer"]])
            assert '"field": "[click' not in fields


# Live


@pytest.mark.parametrize(("state", "can_pause"), [("finished", False), ("running", True)])
def test_only_a_running_run_can_be_paused(state: str, can_pause: bool, open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(state=state)
    app = open_app("metrics")
    assert not app.exception
    assert any(toggle.label == "Pause" for toggle in app.toggle) is can_pause
