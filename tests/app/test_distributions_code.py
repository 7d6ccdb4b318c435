"""The lines beside charts of distributions and drift run as they are, and hold what the charts draw."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.app.distributions_choices import Choices
from explorer.app.distributions_code import lines
from explorer.app.distributions_data import Sampled
from explorer.app.distributions_outlines import Outline, slice_chart
from explorer.app.distributions_pictures import Picture, pictures
from explorer.app.drift_choices import DriftChoices
from explorer.app.drift_data import drifted
from explorer.app.drift_export import lines as drift_lines, picture_spec as drift_picture, to_csv as drift_csv
from explorer.app.drift_map import datasets
from explorer.app.export_menu import to_svg
from explorer.app.outlines_export import bar_edges, lines as slice_lines, to_csv
from explorer.reading.info import RunInfo
from explorer.reading.tensors import TensorStore
from tests.app.tensor_page import training

MakeRun = Callable[..., str]
RecordTensors = Callable[..., None]


@pytest.fixture
def info(make_run: MakeRun, record_tensors: RecordTensors, root: Path) -> RunInfo:
    run_id = make_run("digits")
    record_tensors(run_id, training())
    return RunInfo(run_id, root / run_id)


def picture_of(info: RunInfo, view: str, window: Any, scale: Any) -> Picture:
    one = Sampled(info, "digits", 0, TensorStore().histograms(info.path, "b.weight", "param"))
    return pictures([one], Choices("param", "b.weight", view, scale), window)[0]


@pytest.mark.parametrize("view", ["heat", "fan", "ridges"])
@pytest.mark.parametrize("window", [None, (95.0, 155.0)])
@pytest.mark.parametrize("scale", ["linear", "symlog", "quantile"])
def test_the_lines_of_a_card_hold_what_it_draws(info: RunInfo, view: str, window: Any, scale: str) -> None:
    picture = picture_of(info, view, window, scale)
    space = run(lines(picture))
    assert space["rows"].step.tolist() == picture.rows.step.tolist()
    if view == "fan":
        assert space["table"].index.tolist() == picture.rows.step.tolist()
        np.testing.assert_allclose(space["table"]["max"], picture.rows.max)
    else:
        assert space["picture"].share.shape[1] == (len(picture.rows) if view == "heat" else len(space["picked"]))


@pytest.mark.parametrize("scale", ["linear", "symlog", "quantile"])
def test_the_lines_of_a_slice_hold_its_bars(info: RunInfo, scale: Any) -> None:
    one = Sampled(info, "digits", 0, TensorStore().histograms(info.path, "relu", "activation"))
    now, then = Outline(one, 10), Outline(one, 0)
    choices = Choices("activation", "relu", "heat", scale)
    chart = slice_chart(choices, [now], [then])
    rows = list(csv.DictReader(io.StringIO(to_csv(chart.data, chart.axis).decode())))
    edges = bar_edges(chart.data, chart.axis)
    drawn = [row for row in rows if row["which"] == "now" and row["low"] != row["high"]]
    assert [float(row["low"]) for row in drawn] == edges[:-1]
    zero = next(float(row["share"]) for row in rows if row["which"] == "now" and row["low"] == row["high"] == "0.0")
    table = run(slice_lines(choices, [now, then], edges))["table"]
    expected = np.array([float(row["share"]) for row in drawn])
    expected[int(np.searchsorted(edges, 0.0, side="right")) - 1] += zero
    np.testing.assert_allclose(table[now.name], expected, atol=1e-5)
    assert list(table.columns) == [now.name, then.name]


@pytest.mark.parametrize("reference", ["first", "previous", "step", "run"])
def test_the_lines_of_drift_hold_the_same_distances(
    info: RunInfo, make_run: MakeRun, record_tensors: RecordTensors, root: Path, reference: str
) -> None:
    other_id = make_run("other")
    record_tensors(other_id, training(1))
    other = RunInfo(other_id, root / other_id) if reference == "run" else None
    choices = DriftChoices(info.run_id, "param", "wasserstein", reference, other_id, "model", "")
    found = drifted(info, other, choices, 100)
    assert found is not None
    space = run(drift_lines(found, choices, (str(info.path), None if other is None else str(other.path))))
    assert sorted(space["table"].index) == sorted(found.names)
    np.testing.assert_allclose(space["table"].loc[list(found.names)], found.matrix.values)


def test_the_table_of_drift_has_every_cell_with_every_digit(info: RunInfo) -> None:
    choices = DriftChoices(info.run_id, "param", "wasserstein", "previous", None, "model", "")
    found = drifted(info, None, choices, None)
    assert found is not None
    rows = list(csv.DictReader(io.StringIO(drift_csv(found, [1, 0]).decode())))
    assert [row["tensor"] for row in rows[:1] + rows[-1:]] == [found.names[1], found.names[0]]
    assert len(rows) == int(np.isfinite(found.matrix.values).sum())
    assert float(rows[0]["distance"]) == found.matrix.values[1, 1]
    assert (rows[0]["step"], rows[0]["reference_step"]) == ("10", "0")


def test_the_picture_of_drift_has_title_layers_and_colours(info: RunInfo) -> None:
    choices = DriftChoices(info.run_id, "param", "wasserstein", "first", None, "model", "")
    found = drifted(info, None, choices, None)
    assert found is not None
    svg = to_svg(drift_picture([0, 1], choices, "the first step", datasets(found, [0, 1], False, None))).decode()
    assert "Wasserstein distance / sd from the first step" in svg
    assert ">a.weight<" in svg
    assert "data:image/png" in svg


def run(text: str) -> dict[str, Any]:
    """Run the lines without a screen; drawing needs matplotlib, which is no part of ours."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    space: dict[str, Any] = {}
    exec(compile(text, "lines", "exec"), space)
    import matplotlib.pyplot as plt

    plt.close("all")
    return space
