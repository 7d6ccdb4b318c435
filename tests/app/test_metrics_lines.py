"""What the charts of the Metrics page draw: marks, smoothed lines, means, and never too much or too little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from explorer.storage.layout import list_segments
from tests.app.metrics_page import captions, charts, table

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]


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


def test_an_unknown_grouping_in_a_link_is_named_and_single_runs_are_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", config={"lr": 0.1})
    app = open_app("metrics", group="config:nothing")
    assert "None of the selected runs has nothing" in app.info[0].value
    assert list(table(charts(app)[0], "lines").series.unique()) == ["a"]


def test_a_chart_of_many_long_runs_stays_in_its_budget(open_app: OpenApp, make_run: MakeRun) -> None:
    rng = np.random.default_rng(0)
    for k in range(8):
        make_run(f"run {k}", series={"loss": rng.standard_normal(30_000).cumsum()})
    for query in ({}, {"smooth": "0.9"}, {"zoom": "1000,29000,step"}, {"group": "group"}):
        chart = charts(open_app("metrics", **query))[0]
        assert sum(len(table(chart, found.name)) for found in chart.datasets) <= 4_000
        assert sum(len(found.data.data) for found in chart.datasets) <= 100_000


def test_a_spike_is_never_lost(open_app: OpenApp, make_run: MakeRun) -> None:
    for k in range(8):
        values = np.zeros(30_000)
        values[12_345 + k] = 50.0 + k
        make_run(f"run {k}", series={"loss": values})
    lines = table(charts(open_app("metrics"))[0], "lines")
    assert lines.groupby("series", observed=True)["high"].max().to_dict() == {f"run {k}": 50.0 + k for k in range(8)}


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
