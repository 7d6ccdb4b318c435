"""What charts of distributions and drift can be taken away as: exact tables, pictures, and lines that run."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from explorer.app.distributions_choices import Choices
from explorer.app.distributions_data import Sampled
from explorer.app.distributions_export import bins_csv, picture_spec, quantiles_csv, to_csv
from explorer.app.distributions_pictures import Picture, pictures
from explorer.app.export_menu import to_png, to_svg
from explorer.reading.info import RunInfo
from explorer.reading.tensors import TensorStore
from tests.app.tensor_page import STEPS, odd, training

MakeRun = Callable[..., str]
RecordTensors = Callable[..., None]


@pytest.fixture
def picture_of(make_run: MakeRun, record_tensors: RecordTensors, root: Path) -> Callable[..., Picture]:
    run_id = make_run("digits")
    record_tensors(run_id, training() | odd())

    def make(tensor: str = "b.weight", view: str = "heat", window: Any = None, scale: Any = "linear") -> Picture:
        rows = TensorStore().histograms(root / run_id, tensor, "param")
        one = Sampled(RunInfo(run_id, root / run_id), "digits", 0, rows)
        return pictures([one], Choices("param", tensor, view, scale), window)[0]

    return make


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_the_csv_of_bins_counts_every_value_once(picture_of: Callable[..., Picture]) -> None:
    table = pd.DataFrame(rows_of(to_csv(picture_of())))
    counts = table.groupby("step", sort=False)["count"].apply(lambda column: column.astype(int).sum())
    assert counts.tolist() == [400] * len(STEPS)
    values = np.sort(np.asarray(training()["b.weight", "param"][290], np.float32))
    last = table[table.step == "290"]
    for low, high, count in zip(
        last.low.astype(float), last.high.astype(float), last["count"].astype(int), strict=True
    ):
        assert ((values >= min(low, high)) & (values <= max(low, high))).sum() >= count


def test_the_csv_of_bins_has_what_is_no_number(picture_of: Callable[..., Picture]) -> None:
    rows = rows_of(bins_csv(picture_of("turns nan").rows))
    first = next(row for row in rows if row["low"] == "NaN")
    assert first == {"step": "110", "low": "NaN", "high": "NaN", "count": "1"}
    assert {row["count"] for row in rows if row["low"] == "Inf"} == {"1"}


def test_the_csv_of_quantiles_has_a_line_for_each_sample(picture_of: Callable[..., Picture]) -> None:
    rows = rows_of(to_csv(picture_of(view="fan")))
    assert [int(row["step"]) for row in rows] == list(STEPS)
    values = np.asarray(training()["b.weight", "param"][290], np.float32)
    assert float(rows[-1]["mean"]) == pytest.approx(values.mean(dtype=float), rel=1e-6)
    assert float(rows[-1]["50%"]) == pytest.approx(np.median(values), rel=0.02)
    assert rows_of(quantiles_csv(picture_of("all nan").rows))[0]["50%"] == ""


def test_only_the_window_is_exported(picture_of: Callable[..., Picture]) -> None:
    rows = rows_of(to_csv(picture_of(view="fan", window=(95.0, 155.0))))
    assert [int(row["step"]) for row in rows] == [100, 110, 120, 130, 140, 150]


@pytest.mark.parametrize("view", ["heat", "fan", "ridges"])
@pytest.mark.parametrize("scale", ["linear", "symlog", "quantile"])
def test_pictures_are_drawn_with_title_and_caption(picture_of: Callable[..., Picture], view: str, scale: str) -> None:
    spec = picture_spec(picture_of(view=view, scale=scale))
    svg = to_svg(spec).decode()
    assert "b.weight, digits" in svg
    assert "30 sampled steps" in svg
    image = np.asarray(Image.open(io.BytesIO(to_png(spec, 1.0))).convert("RGB"))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
