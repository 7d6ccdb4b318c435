"""The labels of batches on the page Distributions: what was counted, of each class at each step, and in all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from explorer import Recorder, open_run
from explorer.app.distributions_labels import MAX_CLASSES, MAX_LISTED, code_lines, count_classes, counts_by_step, to_csv
from tests.app.page_texts import assert_drawn, said
from tests.app.tensor_page import chart_with, num_bytes

OpenApp = Callable[..., AppTest]


def batches(num_classes: int, num_steps: int = 12, size: int = 200) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [np.minimum(random.geometric(0.3, size) - 1, num_classes - 1) for _ in range(num_steps)]


def record(root: Path, steps: list[np.ndarray], name: str = "labels") -> Path:
    with Recorder("classes", root=root, quiet=True, system_every_s=None) as recorder:
        for step, labels in enumerate(steps):
            recorder.log({"loss": 1.0}, step=step)
            recorder.log_labels(labels, step=step, name=name)
    return recorder.path


def test_every_class_is_counted_at_every_step(root: Path) -> None:
    steps = batches(6)
    rows = open_run(record(root, steps)).histogram("labels", kind="labels")
    classes, total, num_steps = count_classes(rows)
    counts = counts_by_step(rows, classes)
    assert classes.tolist() == list(range(6))
    np.testing.assert_array_equal(counts, np.stack([np.bincount(labels, minlength=6) for labels in steps], axis=1))
    np.testing.assert_array_equal(total, counts.sum(axis=1))
    np.testing.assert_array_equal(num_steps, (counts > 0).sum(axis=1))
    np.testing.assert_array_equal(counts_by_step(rows, np.array([1, 4])), counts[[1, 4]])


def test_the_page_shows_shares_over_steps_and_the_total_of_each_class(open_app: OpenApp, root: Path) -> None:
    steps = batches(6)
    record(root, steps)
    app = open_app("distributions", kind="labels")
    assert_drawn(app)
    assert "6 classes · 2,400 labels at 12 steps" in said(app)
    cells = chart_with(app, "cells")[0]["cells"]
    first = cells[(cells.t0 == "0") & (cells.t1 == "7")].iloc[0]
    assert first.t3 == str(np.count_nonzero(steps[7] == 0))
    assert float(first.t2.removesuffix(" %")) == pytest.approx(100 * np.mean(steps[7] == 0))
    table = app.dataframe[0].value.set_index("class")
    every = np.bincount(np.concatenate(steps), minlength=6)
    assert table.index[0] == str(every.argmax())
    assert table["labels"].to_dict() == {str(k): n for k, n in enumerate(every.tolist())}
    assert table["share"].sum() == pytest.approx(1.0)
    assert table["steps without"]["5"] == sum(5 not in labels for labels in steps)


def test_of_many_classes_the_most_common_are_drawn_and_all_are_counted(open_app: OpenApp, root: Path) -> None:
    record(root, [np.arange(500) % (100 + step) for step in range(300)])
    app = open_app("distributions", kind="labels")
    assert_drawn(app)
    assert f"399 classes · the {MAX_CLASSES} most common are drawn" in said(app)
    assert len(app.dataframe[0].value) == 399
    assert max(num_bytes(app)) < 100_000


def test_tokens_as_labels_are_counted_without_a_table_of_all_by_all_steps(open_app: OpenApp, root: Path) -> None:
    record(root, [np.arange(30_000) + step % 2 for step in range(40)])
    app = open_app("distributions", kind="labels")
    assert_drawn(app)
    assert f"30,001 classes · the {MAX_CLASSES} most common are drawn · the {MAX_LISTED:,} most common" in said(app)
    assert len(app.dataframe[0].value) == MAX_LISTED
    assert max(num_bytes(app)) < 100_000


def test_what_is_in_no_class_is_told(open_app: OpenApp, root: Path) -> None:
    with pytest.warns(match="no bin|in no"):
        record(root, [np.array([-100, 0, 1, 40_000])])
    app = open_app("distributions", kind="labels")
    assert_drawn(app)
    assert "3 classes · 4 labels at 1 step · 1 beyond -32,768 to 32,767 in no class" in said(app)
    assert "-100" in list(app.dataframe[0].value["class"])


def test_a_name_of_the_link_that_was_not_counted_is_told(open_app: OpenApp, root: Path) -> None:
    record(root, batches(3), name="target")
    shown = said(open_app("distributions", kind="labels", tensor="gone"))
    assert "has recorded gone as a series of labels. target is shown" in shown


def test_counts_are_taken_away_as_csv_and_by_the_lines_of_python(root: Path) -> None:
    path = record(root, batches(4))
    rows = open_run(path).histogram("labels", kind="labels")
    lines = list(csv.DictReader(io.StringIO(to_csv(rows).decode())))
    assert sum(int(line["labels"]) for line in lines) == 2_400
    scope: dict[str, pd.DataFrame] = {}
    exec(code_lines(str(path), "labels"), scope)
    np.testing.assert_array_equal(scope["table"].to_numpy().T, counts_by_step(rows, count_classes(rows).label))
