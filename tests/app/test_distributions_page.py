"""The Distributions page: one tensor over the steps and at one step, in one run or several."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
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


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("distributions")
    assert_drawn(app)
    assert "no runs" in said(app)


def test_a_run_without_tensors_gets_the_three_lines_that_record_them(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("distributions")
    assert_drawn(app)
    assert "rec.watch(model, optimizer)" in said(app)
    assert len(app.code[0].value.splitlines()) == 3
    assert not charts(app)


def test_tensors_that_a_running_training_records_appear(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    run_id = make_run(state="running")
    app = open_app("distributions")
    assert "appears here" in said(app)
    record_tensors(run_id, training())
    time.sleep(0.3)  # looks at the disk that follow each other faster share one
    app.run()
    assert_drawn(app)
    assert chart_with(app, "image")


def test_the_page_opens_on_the_first_tensor_as_a_heat_map_and_the_last_step(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions")
    assert_drawn(app)
    assert len(chart_with(app, "image")) == 1
    shown = said(app)
    assert "a.weight · parameter · 400 values · 30 sampled steps (0 to 290) · bins at most 0.78 % wide" in shown
    assert app.get_by_key("steps_distributions_slider").value == STEPS[-1]


@pytest.mark.parametrize(("view", "table"), [("heat", "image"), ("fan", "fan"), ("ridges", "ridges")])
@pytest.mark.parametrize("scale", ["linear", "symlog", "quantile"])
def test_every_view_and_scale_is_drawn_from_its_link_alone(
    open_app: OpenApp, one_run: str, view: str, table: str, scale: str
) -> None:
    app = open_app("distributions", kind="activation", tensor="relu", view=view, scale=scale, at="200")
    assert_drawn(app)
    tables = chart_with(app, table)[0]
    assert len(tables[table])
    assert len(tables["ticks"]) >= 3
    assert app.get_by_key("steps_distributions_slider").value == 200
    assert max(num_bytes(app)) < 100_000


def test_a_fan_holds_the_quantiles_that_numpy_counts(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", tensor="b.weight", view="fan")
    fan = chart_with(app, "fan")[0]["fan"]
    values = np.stack([np.asarray(v, np.float32) for v in training()["b.weight", "param"].values()])
    low, high = values.min(), values.max()
    for name, q in (("low", 0), ("q5", 0.05), ("q50", 0.5), ("q99", 0.99), ("high", 1)):
        found = low + fan[name].to_numpy() / 240 * (high - low)
        np.testing.assert_allclose(found, np.quantile(values, q, axis=1), atol=0.01)
    assert fan.x.tolist() == list(STEPS)


def test_a_window_in_the_link_shows_exactly_the_samples_inside(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", view="fan", steps="95,155")
    tables = chart_with(app, "fan")[0]
    assert tables["fan"].x.tolist() == [100, 110, 120, 130, 140, 150]
    view = tables["view"].iloc[0]
    assert (view.x_low, view.x_high) == (95, 155)
    assert "6 of 30 samples" in said(app)


def test_a_brush_zooms_into_its_steps_and_the_button_shows_all_again(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", view="fan")
    app.session_state[f"distribution_fan_{one_run}_0"] = {"selection": {"brush": {"x": [41.0, 79.0]}}}
    app.run()
    assert_drawn(app)
    assert chart_with(app, "fan")[0]["fan"].x.tolist() == [40, 50, 60, 70, 80]
    assert app.query_params["steps"] in ("41,79", ["41,79"])
    app.button(key="distributions_reset").click().run()
    assert chart_with(app, "fan")[0]["fan"].x.tolist() == list(STEPS)


def test_nothing_between_these_steps_is_said(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", steps="5000,6000")
    assert_drawn(app)
    assert "None of the runs has a sample between these steps" in said(app)
    assert chart_with(app, "bars")


def test_the_slice_holds_the_shares_of_the_step(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", tensor="b.weight", at="100")
    bars = chart_with(app, "bars")[0]["bars"]
    values = training()["b.weight", "param"]
    every = np.stack(list(values.values())).astype(np.float32)
    edges = np.interp(bars.x, [0, 240], [every.min(), every.max()])
    expected = np.histogram(np.asarray(values[100], np.float32), edges)[0] / 400
    np.testing.assert_allclose(bars.y[:-1], expected, atol=0.02)


def test_a_step_that_was_not_sampled_is_moved_to_the_nearest(open_app: OpenApp, one_run: str) -> None:
    assert open_app("distributions", at="104").get_by_key("steps_distributions_slider").value == 100
    assert open_app("distributions", at="99999").get_by_key("steps_distributions_slider").value == STEPS[-1]


def test_buttons_go_one_sampled_step_back_and_on(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", at="100")
    app.button(key="steps_distributions_back").click().run()
    assert app.get_by_key("steps_distributions_slider").value == 90
    app.button(key="steps_distributions_on").click().run()
    app.button(key="steps_distributions_on").click().run()
    assert app.get_by_key("steps_distributions_slider").value == 110
    assert app.query_params["at"] in ("110", ["110"])


def test_playing_goes_through_the_steps_from_the_start_and_ends_at_the_last(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions")
    app.button(key="steps_distributions_play").click().run()
    shown = [app.get_by_key("steps_distributions_slider").value]
    for _ in STEPS:
        app.run()
        shown.append(app.get_by_key("steps_distributions_slider").value)
    assert sorted(shown) == shown
    assert set(shown) == set(STEPS)
    assert not app.session_state["steps_distributions_playing"]
    assert app.query_params["at"] in ("290", ["290"])


def test_pausing_stays_at_the_step_that_is_shown(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", at="100")
    app.button(key="steps_distributions_play").click().run()
    app.run()
    at = app.get_by_key("steps_distributions_slider").value
    assert at > 100
    app.button(key="steps_distributions_play").click().run()
    assert app.get_by_key("steps_distributions_slider").value == at


@pytest.mark.parametrize(
    ("against", "then"), [("first", "0"), ("previous", "90"), ("step", "40")], ids=["first", "previous", "chosen"]
)
def test_a_step_is_compared_with_another_in_four_measures(
    open_app: OpenApp, one_run: str, against: str, then: str
) -> None:
    app = open_app("distributions", tensor="b.weight", at="100", against=against, then="40")
    assert_drawn(app)
    assert set(chart_with(app, "bars")[0]["bars"].when) == {"now", "then"}
    table = next(frame.value for frame in app.dataframe if "measure" in frame.value)
    assert table.measure.tolist() == ["W1/sd", "KS", "JS", "PSI"]
    assert (table["by chance"] != "").all()
    assert f"step 100 against digits, step {then}" in said(app)


def test_the_distance_is_the_one_that_the_values_have(open_app: OpenApp, one_run: str) -> None:
    app = open_app("distributions", tensor="b.weight", at="290", against="first")
    table = next(frame.value for frame in app.dataframe if "measure" in frame.value).set_index("measure")
    start = training()["b.weight", "param"][0]
    assert float(table.distance["W1/sd"]) == pytest.approx(0.58 / start.std(), rel=0.02)
    assert table.verdict["W1/sd"] == "more than chance"


def test_two_runs_stand_on_the_same_bars_and_values(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run("old"), training())
    record_tensors(make_run("new"), training(1, steps=tuple(range(0, 300, 25))))
    app = open_app("distributions", tensor="b.weight", at="290")
    assert_drawn(app)
    maps = chart_with(app, "image")
    assert len(maps) == 2
    assert maps[0]["ticks"].equals(maps[1]["ticks"])
    assert maps[0]["legend"].equals(maps[1]["legend"])
    bars = chart_with(app, "bars")[0]["bars"]
    assert set(bars.series) == {"old", "new"}
    assert bars[bars.series == "old"].x.tolist() == bars[bars.series == "new"].x.tolist()
    shown = said(app)
    assert "Nearest sampled step to 290 in new: step 275." in shown
    assert "new, step 275 against old, step 290" in shown


def test_a_tensor_that_only_one_run_has_is_drawn_and_the_other_named(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run("wide"), training() | {("extra", "param"): {0: [1.0, 2.0]}})
    record_tensors(make_run("small"), training())
    make_run("without")
    app = open_app("distributions", tensor="extra")
    assert_drawn(app)
    assert len(chart_with(app, "image")) == 1
    assert "Not recorded in without, small." in said(app)


def test_more_runs_than_fit_are_counted(open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors) -> None:
    ids = [make_run(f"r{number}") for number in range(10)]
    for number, run_id in enumerate(ids):
        record_tensors(run_id, training(number, steps=(0, 10)))
    app = open_app("distributions", runs=",".join(ids))
    assert_drawn(app)
    assert len(chart_with(app, "image")) == 8
    assert "newest 8 of 10 runs" in said(app)
    assert set(chart_with(app, "bars")[0]["bars"].series) == {f"r{number}" for number in range(2, 10)}


@pytest.mark.parametrize("view", ["heat", "fan"])
def test_the_nearest_sampled_step_of_each_run_is_marked_and_moves_with_the_slider(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors, view: str
) -> None:
    record_tensors(make_run("coarse"), training(0, steps=(0, 100, 200)))
    record_tensors(make_run("fine"), training(1))
    app = open_app("distributions", view=view, tensor="b.weight", at="120")
    assert [tables["step"].x.tolist() for tables in chart_with(app, "step")] == [[120], [100]]
    specs = [spec for spec, tables in charts(app) if "step" in tables]
    app.button(key="steps_distributions_back").click().run()
    app.get_by_key("steps_distributions_slider").set_value(190).run()
    assert [tables["step"].x.tolist() for tables in chart_with(app, "step")] == [[190], [200]]
    assert specs == [spec for spec, tables in charts(app) if "step" in tables]


@pytest.mark.parametrize("tensor", [name for name, _ in odd()])
@pytest.mark.parametrize("view", ["heat", "fan", "ridges"])
@pytest.mark.parametrize("scale", ["linear", "symlog", "quantile"])
def test_odd_tensors_are_drawn_or_explained(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors, tensor: str, view: str, scale: str
) -> None:
    record_tensors(make_run(), odd())
    app = open_app("distributions", tensor=tensor, view=view, scale=scale, against="first")
    assert_drawn(app)
    assert charts(app)
    shown = said(app)
    if tensor in ("all nan", "empty"):
        assert "There is nothing to draw" in shown
        assert ("The tensor has no elements" in shown) == (tensor == "empty")
    if tensor in ("constant", "one", "zeros"):
        assert "all finite values are" in chart_with(app, "atoms")[0]["atoms"].text.iloc[0]
    if tensor == "turns nan":
        strip = chart_with(app, "counts")[0]["counts"]
        assert set(strip.kind) == {"NaN", "Inf", "zero"}
        assert strip[strip.kind == "NaN"]["at"].iloc[0] == "110"


def test_counts_at_the_step_are_numbers_in_the_table(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run(), odd())
    app = open_app("distributions", tensor="turns nan", at="200")
    row = next(frame.value for frame in app.dataframe if "NaN" in frame.value).iloc[0]
    assert (row["values"], row["NaN"], row["Inf"], row["zero"]) == (4, 1, 1, 0)
    assert row["mean"] == 1.5


@pytest.mark.parametrize(
    "query",
    [
        {"tensor": "gone"},
        {"tensor": HOSTILE, "kind": HOSTILE},
        {"kind": "labels", "view": "pie", "scale": "log", "at": "x", "steps": "1", "against": "?", "then": "-"},
        {"at": "9" * 30, "steps": "nan,inf", "against": "step", "then": "1e9"},
        {"steps": "5,5"},
        {"steps": "-1e999,3"},
    ],
)
def test_bad_values_in_the_link_fall_back(open_app: OpenApp, one_run: str, query: dict[str, str]) -> None:
    app = open_app("distributions", **query)
    assert_drawn(app)
    assert len(chart_with(app, "image")) == 1


def test_an_unknown_tensor_in_the_link_is_named(open_app: OpenApp, one_run: str) -> None:
    assert "has recorded gone as a parameter" in said(open_app("distributions", tensor="gone"))


def test_hostile_names_are_shown_letter_by_letter(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors
) -> None:
    record_tensors(make_run(HOSTILE), {(HOSTILE, "param"): {0: [1.0, 2.0], 5: [2.0, 3.0]}})
    app = open_app("distributions", tensor=HOSTILE, against="first")
    assert_drawn(app)
    for element in (*app.markdown, *app.caption):
        assert "![i](" not in element.value
        assert "\u202e" not in element.value


def test_a_half_written_run_is_shown_as_far_as_it_goes(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors, root: Path
) -> None:
    run_id = make_run("crashed", state="killed")
    record_tensors(run_id, training())
    (root / run_id / "summary" / "0001-00000.json").unlink()
    app = open_app("distributions")
    assert_drawn(app)
    assert chart_with(app, "image")


def test_a_damaged_segment_is_named_and_does_not_end_the_page(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors, root: Path
) -> None:
    good, bad = make_run("good"), make_run("bad")
    record_tensors(good, training())
    record_tensors(bad, training())
    segment = next((root / bad / "tensors").iterdir())
    segment.write_bytes(segment.read_bytes()[:-30])
    app = open_app("distributions")
    assert_drawn(app)
    assert len(chart_with(app, "image")) == 1
    assert segment.name in said(app)


@pytest.mark.parametrize("page", ["distributions", "drift"])
def test_a_run_whose_tensors_are_all_damaged_is_not_told_to_record_them(
    open_app: OpenApp, make_run: MakeRun, record_tensors: RecordTensors, root: Path, page: str
) -> None:
    run_id = make_run("bad")
    record_tensors(run_id, training())
    segments = list((root / run_id / "tensors").iterdir())
    for segment in segments:
        segment.write_bytes(segment.read_bytes()[:-30])
    app = open_app(page)
    assert_drawn(app)
    assert segments[0].name in said(app)
    assert not app.code


def test_the_specification_stays_the_same_while_steps_and_windows_change(open_app: OpenApp, one_run: str) -> None:
    first = open_app("distributions", view="fan", at="100", against="first")
    second = open_app("distributions", view="fan", at="200", against="first", steps="20,90")
    assert [spec for spec, _ in charts(first)] == [spec for spec, _ in charts(second)]
