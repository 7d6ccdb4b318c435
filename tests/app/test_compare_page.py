"""The Compare page: what differs between the selected runs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from explorer.app.caching import listing
from explorer.app.compare_choices import Choices, explain
from explorer.app.compare_metrics import compare, write_csv
from explorer.app.names import esc
from explorer.reading.info import MetricSummary, RunInfo
from explorer.storage.layout import list_segments
from tests.app.page_texts import assert_nothing_failed, texts

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]

HOSTILE = "[click](http://evil.example) ![i](http://evil.example/x.png) <b>x</b> :red[hi] $x$ \u202egnp.exe"
HALF = "\ud800"  # half a character, as JSON can hold it and UTF-8 cannot


def metric_rows(app: AppTest) -> pd.DataFrame:
    """The table of metrics: metric by (run, field)."""
    return next(table.value for table in app.dataframe if isinstance(table.value.columns, pd.MultiIndex))


def setting_rows(app: AppTest) -> list[pd.DataFrame]:
    """The tables of settings: first the config, then code and environment."""
    return [table.value for table in app.dataframe if table.value.index.name == "setting"]


def make_info(run_id: str, **metrics: float | None) -> RunInfo:
    """A run whose metrics have one value each."""
    totals = {name: MetricSummary(1, value, 0, value, 0, value, 0, 0, 0) for name, value in metrics.items()}
    return RunInfo(run_id, Path(run_id), name=run_id, metrics=totals)


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("compare")
    assert_nothing_failed(app)
    assert "no runs" in app.info[0].value


def test_no_selected_run_says_where_to_select(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("compare", runs="none")
    assert_nothing_failed(app)
    assert "No run is selected" in app.info[0].value


def test_more_runs_than_fit_side_by_side_are_counted(open_app: OpenApp, make_run: MakeRun) -> None:
    ids = [make_run(f"r{number}", config={"k": number}) for number in range(30)]
    app = open_app("compare", runs=",".join(ids), ref=ids[3])
    assert_nothing_failed(app)
    assert "newest 23 of the other 29" in texts(app)
    assert setting_rows(app)[0].shape[1] == 24
    assert setting_rows(app)[0].columns[0] == "r3"


def test_one_run_alone_is_shown_and_asks_for_another(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("digits")
    app = open_app("compare")
    assert_nothing_failed(app)
    assert "Only one run is selected" in app.info[0].value
    assert list(app.dataframe[0].value["run"]) == ["digits (reference)"]


def test_only_differing_settings_are_shown_and_all_on_request(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", config={"lr": 0.1, "model": {"width": 32}})
    make_run("b", config={"lr": 0.2, "model": {"width": 32}})
    app = open_app("compare")
    assert setting_rows(app)[0].to_dict("index") == {"lr": {"a": "0.1", "b": "0.2"}}
    next(toggle for toggle in app.toggle if toggle.label == "All settings").set_value(True).run()
    assert list(setting_rows(app)[0].index) == ["lr", "model.width"]


def test_runs_with_equal_settings_are_said_to_be_equal(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", config={"lr": 0.1})
    make_run("b", config={"lr": 0.1})
    assert "the one setting is the same in all 2 runs" in texts(open_app("compare"))


def test_metrics_are_compared_to_the_oldest_run_unless_the_link_says_otherwise(
    open_app: OpenApp, make_run: MakeRun
) -> None:
    make_run("a", series={"loss": [4.0, 2.0]})
    newer = make_run("b", series={"loss": [4.0, 3.0]})
    wide = metric_rows(open_app("compare"))
    assert wide.loc["loss"].to_dict() == {("a", "reference"): 2.0, ("b", "value"): 3, ("b", "Δ"): 1, ("b", "Δ %"): 50}
    wide = metric_rows(open_app("compare", ref=newer))
    assert wide.loc["loss", ("b", "reference")] == 3.0
    assert wide.loc["loss", ("a", "Δ")] == -1.0


def test_a_smallest_value_of_a_resumed_run_is_said_to_be_of_all_attempts(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    make_run("a", series={"loss": [4.0, 2.0]})
    resumed = make_run("b", series={"loss": [4.0, 1.0]})
    assert "all attempts" not in texts(open_app("compare", stat="min"))
    again = json.loads((root / resumed / "summary" / "0001-00000.json").read_text())
    again["metrics"]["loss"][3:7] = [3.0, 1, 4.0, 0]
    (root / resumed / "summary" / "0002-00000.json").write_text(json.dumps(again))
    listing(str(root)).forget()
    app = open_app("compare", stat="min")
    assert metric_rows(app).loc["loss", ("b", "value")] == 1.0
    assert "Min: over all values of all attempts, also of steps that an attempt after them recorded anew." in texts(app)
    assert "all attempts" not in texts(open_app("compare", stat="last"))


def test_the_reference_can_be_chosen_and_goes_into_the_link(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a")
    newer = make_run("b")
    app = open_app("compare")
    app.selectbox[0].set_value(newer).run()
    assert app.query_params["ref"] in (newer, [newer])
    assert ("b", "reference") in metric_rows(app).columns


@pytest.mark.parametrize("asked", ["gone", "../../etc/passwd", "x" * 3000, HOSTILE])
def test_an_unknown_reference_in_the_link_is_named(open_app: OpenApp, make_run: MakeRun, asked: str) -> None:
    make_run("a")
    make_run("b")
    app = open_app("compare", ref=asked)
    assert_nothing_failed(app)
    assert esc(asked, 80) in app.warning[0].value
    assert ("a", "reference") in metric_rows(app).columns


def test_an_unknown_run_in_the_link_is_named_and_the_others_are_compared(open_app: OpenApp, make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b")
    app = open_app("compare", runs=f"{a},{b},gone")
    assert_nothing_failed(app)
    assert "gone" in texts(app)
    assert set(metric_rows(app).columns.get_level_values(0)) == {"a", "b"}


@pytest.mark.parametrize(("statistic", "expected"), [("last", 2.0), ("best", 1.0), ("min", 1.0), ("max", 4.0)])
def test_the_value_that_is_compared_can_be_chosen(
    open_app: OpenApp, make_run: MakeRun, statistic: str, expected: float
) -> None:
    make_run("a", series={"loss": [4.0, 1.0, 2.0]})
    make_run("b")
    assert metric_rows(open_app("compare", stat=statistic)).loc["loss", ("a", "reference")] == expected


def test_bad_values_in_the_link_fall_back_to_the_defaults(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", series={"loss": [4.0, 2.0]})
    make_run("b")
    app = open_app("compare", stat="worst", better="sideways", curve="nope", all="maybe", tab="x")
    assert_nothing_failed(app)
    assert metric_rows(app).loc["loss", ("a", "reference")] == 2.0


def test_nothing_is_coloured_unless_the_user_says_what_is_better(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", series={"loss": [2.0], "lr": [1.0]})
    make_run("b", series={"loss": [1.0], "lr": [1.0]})
    assert "Blue" not in texts(open_app("compare"))
    shown = texts(open_app("compare", better="name"))
    assert "lower is better for loss" in shown
    assert "does not tell: lr" in shown
    assert "Blue: better" in shown


def test_a_search_narrows_the_metrics(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", series={"train/loss": [1.0], "val/loss": [1.0]})
    make_run("b", series={"train/loss": [1.0], "val/loss": [1.0]})
    assert list(metric_rows(open_app("compare", metric="val")).index) == ["val/loss"]
    assert "No metric holds" in texts(open_app("compare", metric="nothing like it"))


def test_a_metric_that_diverged_is_nan_and_one_that_was_not_logged_is_empty() -> None:
    infos = [make_info("a", loss=1.0), make_info("b", loss=math.nan), make_info("c", other=1.0)]
    choices = Choices(reference="a", statistic="last", better="off", search="")
    table = compare(infos, ["loss"], choices).set_index("run")
    assert table["recorded"].to_dict() == {"a": True, "b": True, "c": False}


def test_the_csv_has_every_digit_and_no_formula() -> None:
    infos = [make_info("a", **{"=cmd|'x'!A1": 0.1 + 0.2}), make_info("b", **{"=cmd|'x'!A1": 1.0})]
    choices = Choices(reference="a", statistic="last", better="off", search="")
    table = compare(infos, ["=cmd|'x'!A1"], choices)
    rows = list(csv.DictReader(io.StringIO(write_csv(table, {"a": "=A1", "b": "-b"}, choices).decode())))
    assert [row["metric"] for row in rows] == ["'=cmd|'x'!A1"] * 2
    assert [row["run"] for row in rows] == ["'=A1", "'-b"]
    assert float(rows[0]["value"]) == 0.1 + 0.2
    assert rows[0]["difference"] == ""
    assert float(rows[1]["difference"]) == 1.0 - (0.1 + 0.2)


def test_what_the_names_suggest_is_said_in_words() -> None:
    choices = Choices(reference="a", statistic="best", better="off", search="")
    said = explain(choices, ["val/acc", "loss", "lr"])
    assert "lower is better for loss" in said
    assert "higher is better for val\\/acc" in said
    assert "without a best value, since the name does not tell: lr" in said


def test_code_and_environment_differences_are_shown(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    for name, commit in (("a", "c0ffee" * 6), ("b", "decade" * 6)):
        run_id = make_run(name, config={"k": name})
        for path in (root / run_id / "run.json", root / run_id / "attempts" / "0001-00000.json"):
            record = json.loads(path.read_text())
            record["git"] = {"commit": commit, "branch": "main", "dirty": name == "b", "remote": None}
            record["environment"]["versions"]["torch"] = "2.13.0" if name == "a" else "2.12.1"
            path.write_text(json.dumps(record))
    (root / run_id / "git.diff").write_text("diff --git a/t.py b/t.py\n+++ b/t.py\n@@ -1 +1,2 @@\n a\n+b\n")
    facts = setting_rows(open_app("compare"))[1]
    assert facts.loc["git.commit"].tolist() == ["c0ffee" * 2, "decade" * 2]
    assert facts.loc["versions.torch"].tolist() == ["2.13.0", "2.12.1"]
    assert facts.loc["changed: t.py"].tolist() == ["unchanged", "+1 -0"]
    assert "git.branch" not in facts.index


def test_a_half_written_run_is_compared_as_far_as_it_goes(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    make_run("a")
    run_id = make_run("b", state="running")
    (root / run_id / "summary" / "0001-00000.json").unlink()
    app = open_app("compare")
    assert_nothing_failed(app)
    assert pd.isna(metric_rows(app).loc["train/loss", ("b", "value")])


def test_a_damaged_file_costs_only_its_own_curve_and_is_named(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    make_run("a")
    run_id = make_run("b")
    segment = list_segments(root / run_id)[0].path
    segment.write_bytes(segment.read_bytes()[:-20])
    app = open_app("compare")
    assert_nothing_failed(app)
    assert segment.name in texts(app).replace("\\", "")


def test_hostile_names_are_shown_letter_by_letter(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    for number in range(2):
        make_run(
            HOSTILE + HALF,
            config={HOSTILE + HALF: [number, HALF]},
            series={HOSTILE: [1.0, number], f"{HOSTILE}/loss": [1.0, 2.0]},
            tags=[HOSTILE + HALF],
            group=HOSTILE + HALF,
        )
        record = root / f"run-{number:04}" / "summary" / "0001-00000.json"
        content = json.loads(record.read_text())
        content["metrics"][HALF] = content["metrics"][HOSTILE]
        record.write_text(json.dumps(content))
    app = open_app("compare", better="name", stat="best")
    assert_nothing_failed(app)
    shown = texts(app)
    assert "](http" not in shown
    assert "<b>" not in shown
    assert ":red[" not in shown
    assert "\u202e" not in shown
