"""The lines beside charts of distributions and drift run as they are, and hold what the charts draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.app.distributions_choices import Choices
from explorer.app.distributions_code import lines
from explorer.app.distributions_data import Sampled
from explorer.app.distributions_pictures import Picture, pictures
from explorer.app.drift_choices import DriftChoices
from explorer.app.drift_data import drifted
from explorer.app.drift_export import lines as drift_lines
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


def run(text: str) -> dict[str, Any]:
    """Run the lines without a screen; drawing needs matplotlib, which is no part of ours."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    space: dict[str, Any] = {}
    exec(compile(text, "lines", "exec"), space)
    import matplotlib.pyplot as plt

    plt.close("all")
    return space
