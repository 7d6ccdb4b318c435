"""The Run page: one run in full, whatever state its files are in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.app.caching import listing
from explorer.app.names import esc, matching, unique_labels
from explorer.storage.layout import list_segments
from tests.app.page_texts import assert_nothing_failed, texts

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]

HOSTILE = "[click](http://evil.example) ![i](http://evil.example/x.png) <b>x</b> :red[hi] $x$ \u202egnp.exe"
TABS = ("Metrics", "Config", "Environment", "Code", "System", "Attempts", "Files", "Recorder")
PATCH = """\
diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -1,2 +1,2 @@
-lr = 1
+lr = 3
 steps = 2
diff --git a/model.py b/model.py
--- a/model.py
+++ b/model.py
@@ -1 +1,2 @@
 width = 64
+depth = 2
"""


def metric(app: AppTest, label: str) -> str:
    """The value of a key number."""
    return next(found.value for found in app.metric if found.label == label)


def edit_record(path: Path, **changes: object) -> None:
    """Change keys of a JSON file of a run."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("run")
    assert_nothing_failed(app)
    assert "no runs" in app.info[0].value
    assert [button.label for button in app.button if button.label == "How to start"]


def test_the_page_opens_on_the_newest_run(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("old")
    make_run("new")
    assert open_app("run").title[0].value == "new"


def test_the_run_of_the_link_is_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    old = make_run("old")
    make_run("new")
    app = open_app("run", run=old)
    assert app.title[0].value == "old"
    assert not app.warning


def test_another_run_can_be_chosen(open_app: OpenApp, make_run: MakeRun) -> None:
    old = make_run("old")
    make_run("new")
    app = open_app("run")
    app.selectbox[0].set_value(old).run()
    assert app.title[0].value == "old"
    assert app.query_params["run"] in (old, [old])


@pytest.mark.parametrize("asked", ["gone-1234", "../../etc/passwd", "%2e%2e", "/etc", "x" * 3000, "\x00", HOSTILE])
def test_an_unknown_run_in_the_link_is_named_and_the_newest_is_shown(
    open_app: OpenApp, make_run: MakeRun, asked: str
) -> None:
    make_run("digits")
    app = open_app("run", run=asked)
    assert_nothing_failed(app)
    assert app.title[0].value == "digits"
    assert esc(asked, 80) in app.warning[0].value


def test_the_head_tells_state_and_key_numbers(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("digits", series={"val/loss": [0.5, 0.25, 0.4], "val/acc": [0.1, 0.8, 0.7]}, tags=["sweep"], notes="a\nb")
    app = open_app("run")
    assert metric(app, "Last step") == "2"
    assert metric(app, "Rows") == "3"
    assert metric(app, "Duration") == "12 s"
    assert metric(app, f"Best {esc('val/loss')}") == "0.25"
    assert metric(app, f"Best {esc('val/acc')}") == "0.8"
    assert app.text[0].value == "a\nb"
    assert "finished" in texts(app)
    assert "sweep" in texts(app)


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_from_a_link(open_app: OpenApp, make_run: MakeRun, tab: str) -> None:
    make_run("digits", config={"lr": 0.1})
    app = open_app("run", tab=tab)
    assert_nothing_failed(app)


def test_an_unknown_tab_in_the_link_opens_the_first_one(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("digits")
    app = open_app("run", tab="Passwords")
    assert_nothing_failed(app)
    assert list(app.dataframe[0].value["metric"]) == ["train/loss"]


def test_the_totals_of_each_metric_are_listed(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [3.0, 1.0, 2.0], "grad": [1.0, float("nan"), float("inf")]})
    table = open_app("run").dataframe[0].value.set_index("metric")
    assert table.loc["loss", ["last", "min", "min at", "max", "max at", "values"]].tolist() == [2, 1, 1, 3, 0, 3]
    assert table.loc["grad", ["max", "NaN", "Inf"]].tolist() == [1, 1, 1]


def test_values_that_the_browser_would_cut_or_hide_are_written_out(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"loss": [2.0, 2.157169939576661e35, float("nan")], "acc": [0.5, 0.25, float("inf")]})
    table = open_app("run").dataframe[0].value.set_index("metric")
    assert table["last"].tolist() == ["∞", "NaN"]
    assert table["max"].tolist() == ["0.5", "2.1572e+35"]
    assert table["min"].tolist() == [0.25, 2.0]


def test_a_run_without_rows_says_that_nothing_is_logged_yet(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={})
    app = open_app("run")
    assert_nothing_failed(app)
    assert "Nothing has been logged yet" in app.info[0].value


def test_nested_settings_have_dotted_names_and_can_be_searched(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(config={"lr": 0.1, "model": {"width": 32, "act": "relu"}, "empty": {}})
    app = open_app("run", tab="Config")
    table = app.dataframe[0].value
    assert dict(zip(table["setting"], table["value"], strict=True)) == {
        "empty": "{}",
        "lr": "0.1",
        "model.act": "relu",
        "model.width": "32",
    }
    app.text_input[0].set_value("MODEL relu").run()
    assert list(app.dataframe[0].value["setting"]) == ["model.act"]


def test_a_run_without_a_config_says_how_to_give_one(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    assert "no config" in open_app("run", tab="Config").info[0].value


def test_the_environment_names_the_command_and_the_packages(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("run", tab="Environment")
    assert app.code[0].value == "train.py --lr 0.1"
    versions = next(table.value for table in app.dataframe if "package" in table.value)
    assert versions.values.tolist() == [["torch", "2.13.0"]]


def test_a_run_outside_git_says_so(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    assert "not started in a git repository" in open_app("run", tab="Code").info[0].value


def test_commit_and_uncommitted_changes_are_shown(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    git = {"commit": "c0ffee" * 6, "branch": "main", "dirty": True, "remote": None}
    for path in (root / run_id / "run.json", root / run_id / "attempts" / "0001-00000.json"):
        edit_record(path, git=git)
    (root / run_id / "git.diff").write_text(PATCH)
    app = open_app("run", tab="Code")
    assert_nothing_failed(app)
    assert [code.value for code in app.code] == ["c0ffee" * 6, PATCH.strip()]
    assert app.dataframe[0].value.values.tolist() == [["train.py", 1, 1], ["model.py", 1, 0]]


def test_a_patch_of_a_megabyte_is_cut_on_the_page_and_whole_in_the_download(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    run_id = make_run()
    for path in (root / run_id / "run.json", root / run_id / "attempts" / "0001-00000.json"):
        edit_record(path, git={"commit": "c0ffee", "branch": None, "dirty": True, "remote": None})
    (root / run_id / "git.diff").write_text(PATCH.replace("+depth = 2\n", "+depth = 2\n" * 90_000))
    app = open_app("run", tab="Code")
    assert_nothing_failed(app)
    assert len(app.code[1].value) < 200_000
    assert any("Cut here" in caption.value for caption in app.caption)


def test_the_error_of_a_failed_run_is_shown_in_full(open_app: OpenApp, make_run: MakeRun) -> None:
    traceback = "Traceback (most recent call last):\n" + "".join(f"  line {i}\n" for i in range(40)) + "ValueError: no"
    make_run(state="failed", error={"type": "ValueError", "message": "no *such* value", "traceback": traceback})
    app = open_app("run")
    assert app.error[0].proto.title == "ValueError"
    assert app.error[0].value == esc("no *such* value")
    assert app.code[0].value == traceback


def test_a_run_whose_process_is_gone_is_called_killed_and_keeps_its_rows(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(state="killed")
    app = open_app("run")
    assert "Every row logged until then is here" in app.warning[0].value
    assert list(app.dataframe[0].value["metric"]) == ["train/loss"]


def test_a_half_written_run_is_shown_as_far_as_it_goes(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run(state="running")
    (root / run_id / "summary" / "0001-00000.json").unlink()
    for tab in TABS:
        app = open_app("run", tab=tab)
        assert_nothing_failed(app)
        assert app.title[0].value == "digits"


def test_files_are_listed_with_their_rows(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    table = open_app("run", tab="Files").dataframe[0].value.set_index("file")
    assert table.loc["scalars/0001-00000-000000.parquet", ["rows", "metrics or tensors"]].tolist() == [4, 1]
    assert "run.json" in table.index


def test_a_flipped_bit_is_found_and_its_file_named_with_the_reason(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    run_id = make_run()
    segment = list_segments(root / run_id)[0].path
    content = bytearray(segment.read_bytes())
    content[40] ^= 4
    segment.write_bytes(content)
    app = open_app("run", tab="Files")
    next(button for button in app.button if button.label == "Verify all checksums").click().run()
    assert_nothing_failed(app)
    table = app.dataframe[0].value.set_index("file")
    assert "damaged" in table.loc["scalars/0001-00000-000000.parquet", "state"]
    assert table.loc["run.json", "state"] == "ok"
    assert app.error[0].proto.title == "1 file is damaged"


def test_whole_files_are_confirmed(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("run", tab="Files")
    next(button for button in app.button if button.label == "Verify all checksums").click().run()
    assert "All checksums are right" in app.success[0].value
    assert set(app.dataframe[0].value["state"]) == {"ok"}


@pytest.mark.parametrize("content", [b"", b"PAR1", os.urandom(5000)])
def test_a_file_that_is_no_segment_is_named_without_asking(
    open_app: OpenApp, make_run: MakeRun, root: Path, content: bytes
) -> None:
    run_id = make_run()
    (root / run_id / "scalars" / "0001-00000-000001.parquet").write_bytes(content)
    app = open_app("run", tab="Files")
    assert_nothing_failed(app)
    assert app.error[0].proto.title == "1 file is damaged"


def test_foreign_files_are_counted_and_not_opened(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    (root / run_id / "notes.txt").write_text("mine")
    os.mkfifo(root / run_id / "scalars" / "pipe")
    app = open_app("run", tab="Files")
    assert "2 other files lie in it" in texts(app)


def test_a_newer_format_is_refused_by_name(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    edit_record(root / run_id / "summary" / "0001-00000.json", format=99)
    app = open_app("run")
    assert_nothing_failed(app)
    assert "format 99" in texts(app)


@pytest.mark.parametrize("tab", ["Metrics", "Recorder"])
def test_an_integer_beyond_every_double_is_a_value_not_an_error(
    open_app: OpenApp, make_run: MakeRun, root: Path, tab: str
) -> None:
    run_id = make_run()
    record = root / run_id / "summary" / "0001-00000.json"
    metrics = json.loads(record.read_text())["metrics"]
    metrics["huge"] = [1, 10**400, 0, -(10**400), 0, 10**400, 0, 0, 0]
    edit_record(record, metrics=metrics, overhead={"caller_us_per_call": 10**400})
    app = open_app("run", tab=tab)
    assert_nothing_failed(app)
    assert_nothing_failed(open_app("compare", runs=run_id))


def test_the_recorder_tells_what_it_cost_and_what_it_lost(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    edit_record(
        root / run_id / "summary" / "0001-00000.json",
        dropped_rows=3,
        refused_values=2,
        warnings=["the disk is full [x](http://evil.example)"],
        overhead={"caller_us_per_call": 2.0, "calls": 1000, "fraction": 0.0005, "writer_s": 0.25},
    )
    app = open_app("run", tab="Recorder")
    assert metric(app, "Cost of a call") == "2 µs"
    assert metric(app, "Share of the run") == "0.05 %"
    assert metric(app, "Rows dropped") == "3"
    assert "the disk is full" in texts(app)
    assert "3 rows could not be written" in texts(app)


@pytest.mark.parametrize(("samples", "told"), [(1, "Only 1 call was timed"), (2, "Only 2 calls were timed")])
def test_a_cost_that_rests_on_few_calls_says_so(
    open_app: OpenApp, make_run: MakeRun, root: Path, samples: int, told: str
) -> None:
    record = root / make_run() / "summary" / "0001-00000.json"
    edit_record(record, overhead={"caller_us_per_call": 114.0, "samples": samples})
    assert told in texts(open_app("run", tab="Recorder"))
    edit_record(record, overhead={"caller_us_per_call": 2.0, "samples": 500})
    listing(str(root)).forget()
    assert "timed, in so short" not in texts(open_app("run", tab="Recorder"))


@pytest.mark.parametrize("tab", TABS)
def test_hostile_names_are_shown_letter_by_letter(open_app: OpenApp, make_run: MakeRun, root: Path, tab: str) -> None:
    evil = HOSTILE + "\ud800"  # and half a character, as JSON can hold it and UTF-8 cannot
    run_id = make_run(
        evil,
        tags=[evil],
        notes=evil,
        group=evil,
        config={evil: {evil: evil}},
        series={HOSTILE: [1.0, 2.0], f"{HOSTILE}/loss": [1.0]},
        state="failed",
        error={"type": evil, "message": evil, "traceback": evil},
    )
    record = root / run_id / "summary" / "0001-00000.json"
    metrics = json.loads(record.read_text())["metrics"]
    metrics[evil] = metrics[HOSTILE]
    edit_record(record, host=evil, warnings=[evil], overhead={evil: evil}, dropped_rows=1, metrics=metrics)
    for path in (root / run_id / "run.json", root / run_id / "attempts" / "0001-00000.json"):
        environment = {evil: evil, "versions": {evil: evil}}
        git = {"commit": evil, "branch": evil, "dirty": True, "remote": evil}
        edit_record(path, environment=environment, argv=[evil], host=evil, git=git)
    (root / run_id / "git.diff").write_text(f"diff --git a/{HOSTILE} b/{HOSTILE}\n@@ -1 +1 @@\n-a\n+b\n" * 2)
    app = open_app("run", tab=tab)
    assert_nothing_failed(app)
    assert app.title[0].value == esc(evil)
    shown = texts(app).replace(app.text[0].value, "")  # st.text shows text as it is
    assert "](http" not in shown
    assert "<b>" not in shown
    assert ":red[" not in shown
    assert "\u202e" not in shown


def test_a_search_finds_names_that_hold_every_word() -> None:
    assert matching(["train/loss", "val/loss", "lr"], "LOSS val") == ["val/loss"]
    assert matching(["a[0]", "b"], "a[") == ["a[0]"]


def test_names_that_look_alike_are_told_apart() -> None:
    assert unique_labels(["a\u202eb", "a\u202db", "c"]) == ["a\ufffdb", "a\ufffdb (2)", "c"]
