"""What a chart can be taken away as: pictures made offline, a table of every point, and lines that draw it again."""

from __future__ import annotations

import csv
import io
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from explorer.app.export_menu import file_name, to_png, to_svg
from explorer.app.metrics_chart import Picture, Shown, picture
from explorer.app.metrics_code import pandas_lines
from explorer.app.metrics_export import picture_spec, to_csv
from explorer.app.metrics_options import Options
from explorer.reading.catalogue import Catalogue

MakeRun = Callable[..., str]
Window = tuple[float, float] | None
RNG = np.random.default_rng(0)
LOSS = RNG.standard_normal(300).cumsum()


@pytest.fixture
def made(make_run: MakeRun, root: Path) -> Callable[..., tuple[Picture, Shown]]:
    make_run("a 'quoted' \"name\"", config={"lr": 0.1}, series={"train/loss": LOSS, "epoch": np.arange(300) // 40})
    make_run(
        "b", config={"lr": 0.1}, series={"train/loss": [*LOSS[:150] + 3, np.nan, np.inf], "epoch": [0.0, 0.0, 1.0]}
    )
    make_run("c", config={"lr": 0.2}, series={"train/loss": LOSS[::2] * 2, "epoch": np.arange(150) // 20})

    def make(window: Window = None, **options: Any) -> tuple[Picture, Shown]:
        infos = Catalogue(root).refresh()
        labels = {info.run_id: info.name for info in infos}
        places = {info.run_id: place for place, info in enumerate(infos)}
        shown = Shown(tuple(infos), labels, places, Options(**options))
        return picture("train/loss", shown, window), shown

    return make


def rows_of(made: Picture) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(made).decode())))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_svg_and_png_are_made_on_this_machine_with_title_names_and_caption(made: Any) -> None:
    chart, _ = made(smoothing=0.5)
    svg = to_svg(picture_spec(chart)).decode()
    texts = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    for text in ("train/loss", "step", "a 'quoted' \"name\"", "b", "c"):
        assert text in texts
    assert any("3 runs" in (text or "") for text in texts)
    assert svg.count("<path") > 3
    assert "#1d5fd1" in svg
    png = np.asarray(Image.open(io.BytesIO(to_png(picture_spec(chart), scale=1))).convert("L"))
    title = png[:40, :120]
    assert (title < 100).sum() > 100  # letters, drawn with a font that is there


@pytest.mark.parametrize(
    "options", [{"group": "config:lr"}, {"log_x": True, "log_y": True}, {"x": "wall"}, {"x": "epoch"}]
)
def test_every_kind_of_chart_becomes_a_picture(made: Any, options: dict[str, Any]) -> None:
    chart, _ = made(**options)
    assert b"<svg" in to_svg(picture_spec(chart))


def test_the_csv_holds_every_point_of_the_window_and_not_only_those_drawn(made: Any) -> None:
    chart, _ = made((10, 59.5), smoothing=0.5)
    rows = [row for row in rows_of(chart) if row["series"] == "c"]
    assert [int(row["step"]) for row in rows] == list(range(10, 60))
    np.testing.assert_array_equal([float(row["train/loss"]) for row in rows], LOSS[::2][10:60] * 2)
    smooth = pd.Series(LOSS[::2] * 2).ewm(halflife=1.0).mean()[10:60]
    np.testing.assert_allclose([float(row["smoothed"]) for row in rows], smooth)


def test_the_csv_of_means_tells_spread_and_number_of_runs(made: Any) -> None:
    chart, _ = made(group="config:lr")
    rows = [row for row in rows_of(chart) if row["series"] == "lr = 0.1 · 2 runs"]
    assert float(rows[0]["std"]) == pytest.approx(np.std([LOSS[0], LOSS[0] + 3], ddof=1))
    assert [rows[0]["runs"], rows[-1]["runs"]] == ["2", "1"]


def test_text_in_the_csv_cannot_be_a_formula(make_run: MakeRun, root: Path) -> None:
    make_run("=1+1", series={"@sum": [1.0]})
    info = Catalogue(root).refresh()[0]
    shown = Shown((info,), {info.run_id: info.name}, {info.run_id: 0}, Options())
    header, row = to_csv(picture("@sum", shown, None)).decode().splitlines()
    assert header == "series,step,'@sum"
    assert row == "'=1+1,0,1.0"


@pytest.mark.parametrize(
    ("metric", "name"), [("../../etc/passwd", "etc-passwd"), ("a b", "a-b"), ("…", "chart"), ("x" * 500, "x" * 80)]
)
def test_a_file_name_is_only_a_name(metric: str, name: str) -> None:
    assert file_name(metric) == name


CASES: list[dict[str, Any]] = [
    {},
    {"smoothing": 0.8},
    {"window": (20.0, 90.0)},
    {"x": "relative", "smoothing": 0.5},
    {"x": "wall", "window": (1772355605000.0, 1772355620000.0)},
    {"x": "epoch"},
    {"x": "metric:train/loss"},
    {"group": "config:lr"},
    {"group": "config:lr", "smoothing": 0.6, "window": (100.0, 200.0)},
    {"group": "group", "x": "relative"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_pandas_lines_give_what_the_chart_shows(made: Any, case: dict[str, Any]) -> None:
    options = dict(case)
    chart, shown = made(options.pop("window", None), **options)
    lines = pandas_lines(chart, shown).partition("ax = None")[0]
    space: dict[str, Any] = {}
    exec(lines, space)
    curves = list(space["curves"].values())
    parts = chart.parts
    assert len(curves) == len(parts)
    for part in parts:
        curve = part.curve
        expected = curve.y if curve.smooth is None else curve.smooth
        want = pd.Series(expected[part.inside], index=curve.x[part.inside])
        named = next(found for key, found in space["curves"].items() if curve.label.startswith(str(key)))
        named, want = named[np.isfinite(named)], want[np.isfinite(want)]
        index = named.index
        if options.get("x") == "wall":
            index = (index - pd.Timestamp(0)) / pd.Timedelta(milliseconds=1)
        np.testing.assert_allclose(np.asarray(index, float), want.index, rtol=1e-12, atol=1e-9)
        # pandas rounds a half-life to its clock.
        np.testing.assert_allclose(named, want, rtol=1e-5 if options.get("smoothing") else 1e-9, atol=1e-9)
