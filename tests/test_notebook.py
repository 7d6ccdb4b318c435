"""The notebook API on runs that the recorder wrote: frames as pandas expects them, charts that show themselves."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import explorer
from explorer.charts.curves import TABLES
from explorer.errors import MetricNotFound, RootError, RunNotFound, UsageError
from explorer.reading.edits import archive

PROJECT = Path(__file__).parents[1]


def record(root, name, count=50, metric="train/loss", start=0, scale=1.0):
    with explorer.Recorder(name, config={"scale": scale}, root=root, system_every_s=None) as rec:
        for step in range(start, start + count):
            rec.log({metric: scale / (step + 1)}, step=step)
    return rec.path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # outside of any repository, whose state would be recorded
    return tmp_path / "logs"


def rows(chart, table):
    return chart.to_dict()["datasets"][table]


def test_a_recorded_run_is_a_frame(root):
    path = record(root, "digits")
    frame = explorer.open_run(path).scalars("train/loss")
    assert frame.columns.tolist() == ["step", "wall_time", "train/loss"]
    assert frame["train/loss"].tolist() == [1 / (step + 1) for step in range(50)]
    assert frame["wall_time"].is_monotonic_increasing


def test_runs_are_listed_newest_first_and_open_from_the_list(root):
    record(root, "first")
    record(root, "second")
    listed = explorer.list_runs(root)
    assert [info.name for info in listed] == ["second", "first"]
    assert explorer.open_run(listed[0]).metrics == ["train/loss"]


def test_a_root_that_is_not_there_says_so(root):
    with pytest.raises(RootError, match="there is no folder"):
        explorer.list_runs(root)


@pytest.mark.parametrize("way", ["folder", "text", "info", "run", "several", "root"])
def test_a_chart_is_drawn_from_whatever_names_runs(root, way):
    path = record(root, "digits")
    given = {
        "folder": path, "text": str(path), "info": explorer.list_runs(root)[0], "run": explorer.open_run(path),
        "several": [path], "root": root,
    }[way]  # fmt: skip
    chart = explorer.curves(given, "train/loss")
    assert [row["y"] for row in rows(chart, "lines")] == pytest.approx([1 / (step + 1) for step in range(50)])
    assert {row["series"] for row in rows(chart, "lines")} == {"digits"}
    assert set(chart.to_dict()["datasets"]) == set(TABLES)


def test_a_chart_shows_itself_in_a_notebook(root):
    chart = explorer.curves(record(root, "digits"), "train/loss")
    bundle = chart._repr_mimebundle_()
    assert json.dumps(chart.to_dict(), allow_nan=False)
    assert any(
        "vegalite" in kind or kind == "text/html" for kind in (bundle[0] if isinstance(bundle, tuple) else bundle)
    )


def test_a_chart_can_be_made_into_a_picture(root):
    converter = pytest.importorskip("vl_convert")
    chart = explorer.curves([record(root, "a"), record(root, "b")], "train/loss", log_x=True, log_y=True)
    assert converter.vegalite_to_png(chart.properties(width=300).to_json()).startswith(b"\x89PNG")


def test_runs_of_one_name_are_told_apart(root):
    paths = [record(root, "same"), record(root, "same")]
    labels = {row["series"] for row in rows(explorer.curves(paths, "train/loss"), "lines")}
    assert labels == {f"same ({path.name})" for path in paths}


def test_a_long_series_keeps_its_spike_in_few_rows(root):
    path = record(root, "long", count=20_000)
    with explorer.Recorder("long", root=root, run_id=path.name, resume="must", system_every_s=None) as rec:
        rec.log({"train/loss": 7.0}, step=12_345)
    chart = explorer.curves(path, "train/loss")
    assert len(rows(chart, "lines")) <= 4_100
    assert {"x": 12_345.0, "y": 7.0}.items() <= max(rows(chart, "lines"), key=lambda row: row["y"] or 0).items()
    many = explorer.curves([path, record(root, "b", 9_000), record(root, "c", 9_000)], "train/loss")
    assert len(rows(many, "lines")) <= 4_100
    assert max(row["high"] or 0 for row in rows(many, "lines")) == 7.0


def test_values_that_no_line_can_show_are_marks(root):
    with explorer.Recorder("odd", root=root, system_every_s=None) as rec:
        for step, value in enumerate([1.0, math.nan, 2.0, math.inf, -math.inf]):
            rec.log({"loss": value}, step=step)
    chart = explorer.curves(rec.path, "loss")
    assert [(row["x"], row["kind"]) for row in rows(chart, "marks")] == [(1, "NaN"), (3, "+Inf"), (4, "-Inf")]
    assert [row["y"] for row in rows(chart, "lines")] == [1.0, None, 2.0, None, None]


def test_logarithmic_axes_leave_out_what_they_cannot_show(root):
    with explorer.Recorder("signs", root=root, system_every_s=None) as rec:
        for step, value in enumerate([5.0, -1.0, 0.0, 100.0]):
            rec.log({"loss": value}, step=step)
    chart = explorer.curves(rec.path, "loss", log_x=True, log_y=True)
    assert [(row["x"], row["y"]) for row in rows(chart, "lines")] == [(1, None), (2, None), (3, 100.0)]
    (view,) = rows(chart, "view")
    assert view["y_low"] > 0
    assert view["x_low"] == 1


def test_a_single_point_is_a_dot(root):
    chart = explorer.curves(record(root, "one", count=1), "train/loss")
    assert len(rows(chart, "dots")) == 1
    (view,) = rows(chart, "view")
    assert view["x_low"] < 0 < view["x_high"]
    assert view["y_low"] < 1 < view["y_high"]


def test_the_tooltip_tells_range_and_last_value_of_each_strip(root):
    chart = explorer.curves(record(root, "digits", count=1_000), "train/loss")
    strips = rows(chart, "hover")
    assert len(strips) == 100
    assert strips[0]["v0"] == "0.1  (0.1 to 1)"
    assert np.isclose(strips[-1]["x2"], 999)


def test_archived_runs_and_runs_without_the_metric_are_left_out_of_a_root(root):
    record(root, "shown")
    archive(record(root, "archived"))
    record(root, "other", metric="lr")
    assert {row["series"] for row in rows(explorer.curves(root, "train/loss"), "lines")} == {"shown"}


def test_what_cannot_be_drawn_says_why(root, tmp_path):
    path = record(root, "digits")
    with pytest.raises(MetricNotFound, match="it has 'train/loss'"):
        explorer.curves(path, "train/los")
    with pytest.raises(MetricNotFound, match="no run in"):
        explorer.curves(root, "val/loss")
    with pytest.raises(RunNotFound, match="no run was given"):
        explorer.curves([], "train/loss")
    with pytest.raises(RunNotFound):
        explorer.curves([path, tmp_path], "train/loss")
    with pytest.raises(UsageError, match="33 runs are too many"):
        explorer.curves([path] * 33, "train/loss")


def test_reading_frames_needs_neither_torch_nor_a_browser(root):
    path = record(root, "digits")
    code = (
        f"import sys, explorer; explorer.open_run({str(path)!r}).scalars('train/loss'); "
        "print({'torch', 'streamlit', 'altair'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
