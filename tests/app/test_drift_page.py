"""The Drift page: how far each layer moved, from what, and the two distributions behind a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from streamlit.testing.v1 import AppTest

from tests.app.page_texts import assert_drawn, said
from tests.app.tensor_page import STEPS, chart_with, charts, num_bytes, odd, training

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]
RecordTensors = Callable[..., None]

HOSTILE = "a'b]\"c[0] :red[x] $y$ ![i](http://evil.example/x.png)\u202e"


@pytest.fixture
def one_run(make_run: MakeRun, record_tensors: RecordTensors) -> str:
    run_id = make_run("digits")
    record_tensors(run_id, training())
    return run_id


def drift_of(app: AppTest, layer: str, step: int) -> float:
    cells = chart_with(app, "cells")[0]["cells"]
    row = cells[(cells.layer == layer) & (cells["at"] == step)]
    return float(row.drift.iloc[0])


def layer_table(app: AppTest):
    return next(frame.value for frame in app.dataframe if "course" in frame.value)


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("drift")
    assert_drawn(app)
    assert "no runs" in said(app)


def test_a_run_without_tensors_gets_the_three_lines_that_record_them(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("drift")
    assert_drawn(app)
    assert "rec.watch(model, optimizer)" in said(app)


def test_the_page_opens_on_parameters_against_the_first_step(open_app: OpenApp, one_run: str) -> None:
    app = open_app("drift")
    assert_drawn(app)
    tables = chart_with(app, "cells")[0]
    assert tables["rows"].layer.tolist() == ["a.weight", "b.weight"]
    assert len(tables["cells"]) == 2 * len(STEPS)
    shown = said(app)
    assert "W1/sd from the first sampled step" in shown
    assert "Parameters drift in every healthy training" in shown
    assert max(num_bytes(app)) < 100_000


def test_the_distance_is_that_of_the_values(open_app: OpenApp, one_run: str) -> None:
    app = open_app("drift")
    values = training()["b.weight", "param"]
    for step in (10, 100, 290):
        expected = wasserstein_distance(values[step], values[0]) / values[0].std()
        assert drift_of(app, "b.weight", step) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("measure", ["wasserstein", "ks", "js_distance", "psi"])
@pytest.mark.parametrize("reference", ["first", "previous", "step"])
def test_every_measure_and_reference_is_drawn_from_its_link_alone(
    open_app: OpenApp, one_run: str, measure: str, reference: str
) -> None:
    query = {"measure": measure, "from": reference, "then": "100", "kind": "grad"}
    app = open_app("drift", **query)
    assert_drawn(app)
    assert len(chart_with(app, "cells")[0]["cells"]) >= len(STEPS)
    assert "Parameters drift" not in said(app)


def test_a_chosen_step_is_the_reference_of_all_steps(open_app: OpenApp, one_run: str) -> None:
    app = open_app("drift", **{"from": "step", "then": "150"})
    assert drift_of(app, "b.weight", 150) == 0
    assert drift_of(app, "b.weight", 0) > 1
    assert "W1/sd from step 150" in said(app)


def test_another_run_is_compared_at_the_same_step(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    old = make_run("old")
    record_tensors(old, training())
    new = make_run("new")
    record_tensors(new, {key: value for key, value in training(1).items() if key[0] != "a.weight"})
    app = open_app("drift", **{"run": new, "from": "run", "ref": old, "at": "100", "tensor": "b.weight"})
    assert_drawn(app)
    a, b = (np.asarray(training(seed)["b.weight", "param"][100]) for seed in (1, 0))
    assert drift_of(app, "b.weight", 100) == pytest.approx(wasserstein_distance(a, b) / b.std(), rel=0.05)
    bars = chart_with(app, "bars")[0]["bars"]
    assert set(zip(bars.series, bars.when, strict=True)) == {("new", "now"), ("old", "then")}


def test_layers_are_ranked_by_what_changed_most_on_request(open_app: OpenApp, one_run: str) -> None:
    app = open_app("drift", order="changed")
    assert chart_with(app, "cells")[0]["rows"].layer.tolist() == ["b.weight", "a.weight"]
    table = layer_table(app)
    assert table.layer.tolist() == ["b.weight", "a.weight"]
    first = table.iloc[0]
    assert first["at step"] == "290"
    assert first.ratio == pytest.approx(first.largest / first["by chance up to"])
    assert first.ratio > 10
    assert table.iloc[1].ratio < 1


def test_cells_within_chance_are_counted_and_grey(open_app: OpenApp, one_run: str) -> None:
    # a.weight never leaves chance; b.weight only at the first steps.
    assert "grey: within chance (3" in said(open_app("drift"))


def test_the_layer_that_changed_most_is_open_until_the_link_names_another(open_app: OpenApp, one_run: str) -> None:
    app = open_app("drift")
    assert "b.weight at step 290" in said(app)
    app = open_app("drift", tensor="a.weight", at="104")
    assert "a.weight at step 100" in said(app)
    assert "step 100 against digits, step 0" in said(app)
    assert chart_with(app, "chosen")[0]["chosen"].row.tolist() == [0]
    assert set(chart_with(app, "bars")[0]["bars"].when) == {"now", "then"}


def test_a_run_of_the_link_that_is_not_selected_is_told(open_app: OpenApp, one_run: str) -> None:
    app = open_app("drift", run="gone-1a2b3c4d")
    assert_drawn(app)
    assert "The run gone" in said(app)
    assert "not among the selected ones" in said(app)
    assert "not among the selected ones" not in said(open_app("drift", run=one_run))


def test_cells_that_are_clear_are_explained(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    whole, torn = make_run("whole"), make_run("torn")
    tensors = training()
    record_tensors(whole, tensors)
    tensors["a.weight", "param"][290] = np.full(400, np.nan)
    record_tensors(torn, tensors)
    assert "clear:" not in said(open_app("drift", run=whole))
    assert "clear: not sampled, or without a finite value" in said(open_app("drift", run=torn))


def test_a_sudden_change_is_marked_as_unusual_for_its_layer(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    tensors = training(steps=tuple(range(0, 600, 10)))
    for step in tensors["a.weight", "param"]:
        if step >= 400:
            tensors["a.weight", "param"][step] = tensors["a.weight", "param"][step] * 3
    record_tensors(make_run(), tensors)
    app = open_app("drift")
    alarms = chart_with(app, "alarms")[0]["alarms"]
    assert alarms.to_dict("records") == [{"x": 400.0, "row": 0, "told": "step 400"}]
    assert "▲ 1 change since the step before is unusual" in said(app)
    assert layer_table(app).set_index("layer").unusual.to_dict() == {"a.weight": 1, "b.weight": 0}


def test_a_search_narrows_the_layers(open_app: OpenApp, one_run: str) -> None:
    assert layer_table(open_app("drift", layer="b.w")).layer.tolist() == ["b.weight"]
    assert "No layer holds nothing like it" in said(open_app("drift", layer="nothing like it"))


def test_a_hundred_layers_are_all_in_the_table_and_sixty_in_the_picture(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    random = np.random.default_rng(0)
    record_tensors(
        make_run(), {(f"l{k:03}", "param"): {step: random.normal(k, 1, 20) for step in (0, 1)} for k in range(100)}
    )
    app = open_app("drift")
    assert_drawn(app)
    assert len(chart_with(app, "rows")[0]["rows"]) == 60
    assert len(layer_table(app)) == 100
    assert "60 of 100 tensors" in said(app)


def test_odd_tensors_are_drawn_or_explained(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run(), odd())
    for name, _ in odd():
        app = open_app("drift", tensor=name)
        assert_drawn(app)
        assert len(layer_table(app)) == len(odd())
    assert "constant at the reference" in said(open_app("drift"))
    assert "There is nothing to compare with" in said(open_app("drift", tensor="all nan"))


def test_one_sample_has_no_distance_from_the_one_before_and_it_is_said(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run(), training(steps=(0,)))
    app = open_app("drift", **{"from": "previous"})
    assert_drawn(app)
    assert "There is no distance to show yet" in said(app)


@pytest.mark.parametrize(
    "query",
    [
        {"run": "gone", "kind": "gone", "measure": "gone", "from": "gone", "order": "gone"},
        {"tensor": HOSTILE, "at": "x" * 400, "ref": "../../etc/passwd", "from": "run"},
        {"from": "step", "then": "9" * 40, "at": "-"},
    ],
)
def test_bad_values_in_the_link_fall_back(open_app: OpenApp, one_run: str, query: dict[str, str]) -> None:
    app = open_app("drift", **query)
    assert_drawn(app)
    assert len(chart_with(app, "cells")) == 1


def test_hostile_names_are_shown_letter_by_letter(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run(HOSTILE), {(HOSTILE, "param"): {0: [1.0, 2.0], 5: [2.0, 3.0]}})
    app = open_app("drift")
    assert_drawn(app)
    for element in (*app.markdown, *app.caption, *app.subheader):
        assert "![i](" not in element.value
        assert "\u202e" not in element.value
    assert "\u202e" not in layer_table(app).layer.iloc[0]


def test_a_damaged_segment_is_named(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors, root: Path
) -> None:
    record_tensors(make_run("good"), training())
    bad = make_run("bad")
    record_tensors(bad, training())
    segment = next((root / bad / "tensors").iterdir())
    segment.write_bytes(segment.read_bytes()[:-30])
    app = open_app("drift", runs=bad)
    assert_drawn(app)
    assert segment.name in said(app)


def test_the_specification_stays_the_same_while_cells_and_layers_change(open_app: OpenApp, one_run: str) -> None:
    first, second = open_app("drift", at="100"), open_app("drift", at="200", tensor="a.weight", order="changed")
    assert [spec for spec, _ in charts(first)] == [spec for spec, _ in charts(second)]
