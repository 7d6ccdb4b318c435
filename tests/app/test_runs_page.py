"""The Runs page as a user meets it: empty, full, half-written, from a good link and a bad one."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer import Recorder
from explorer.app import runs_demo
from explorer.app.caching import listing
from explorer.reading import edits

TABLE = "runs_table"


def table(app: AppTest):
    return app.get_by_key(TABLE).value


def names(app: AppTest) -> list[str]:
    return list(table(app)["name"])


def selected(app: AppTest) -> list[int]:
    return list(app.session_state[TABLE]["selection"]["rows"])


def link(app: AppTest, key: str) -> str | None:
    values = app.query_params.get(key)
    return values if values is None or isinstance(values, str) else values[0]


def again(app: AppTest, root: Path) -> AppTest:
    listing(str(root)).forget()
    return app.run()


def select_rows(app: AppTest, *rows: int) -> AppTest:
    app.session_state[TABLE] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return app.run()


def texts(app: AppTest) -> str:
    parts = [*app.title, *app.markdown, *app.caption, *app.error, *app.warning, *app.info, *app.code]
    titles = [alert.proto.title for alert in (*app.error, *app.warning, *app.info)]
    return "\n".join([*(part.value for part in parts), *titles]).replace("\\", "")


def test_an_empty_root_says_how_to_start_and_offers_the_demo(open_app):
    app = open_app()
    assert not app.exception
    assert "Nothing recorded yet" in texts(app)
    assert "with Recorder(" in app.code[0].value
    assert app.button(key="demo_start").label == "Record the demo"


def test_the_lines_that_say_how_to_start_are_python(open_app):
    compile(open_app().code[0].value, "example", "exec")


def test_a_root_that_is_yet_to_be_made_is_not_an_error(open_app, root):
    root.rmdir()
    app = open_app()
    assert "There is no folder" in texts(app)
    assert not app.error


def test_a_root_that_is_a_file_is_named_with_what_to_do(open_app, root):
    root.rmdir()
    root.write_text("not a folder")
    app = open_app()
    assert not app.exception
    assert "is a file; a folder of runs was expected" in texts(app)
    assert "-- --root FOLDER" in texts(app)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_root_that_may_not_be_read_is_named_with_what_to_do(open_app, root):
    root.chmod(0)
    try:
        assert "cannot be read" in texts(open_app())
    finally:
        root.chmod(0o700)


def test_the_newest_runs_come_first_and_have_colours(open_app, make_run):
    for number in range(11):
        make_run(f"run {number}")
    app = open_app()
    assert not app.exception
    assert names(app) == [f"run {number}" for number in reversed(range(11))]
    assert selected(app) == []
    assert [bool(colour) for colour in table(app)["colour"]] == [True] * 8 + [False] * 3
    assert link(app, "runs") is None


def test_a_run_keeps_its_colour_when_newer_ones_come(open_app, make_run, root):
    make_run("first")
    make_run("second")
    app = open_app()
    before = dict(zip(table(app)["name"], table(app)["colour"], strict=True))
    make_run("third")
    again(app, root)
    after = dict(zip(table(app)["name"], table(app)["colour"], strict=True))
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 3


def test_the_table_begins_with_what_differs_between_the_runs(open_app, make_run):
    make_run(config={"lr": 0.1, "epochs": 3}, series={"train/loss": [2, 1], "val/acc": [0.1, 0.5, 0.4]})
    make_run(config={"lr": 0.2, "epochs": 3}, series={"train/loss": [2, 3], "val/acc": [0.1, 0.7]})
    shown = table(open_app())
    assert "config.lr" in shown
    assert "config.epochs" not in shown
    assert list(shown["best.val/acc"]) == [0.7, 0.5]
    assert list(shown["best.train/loss"]) == [2.0, 1.0]


def test_the_sparkline_holds_the_series_and_leaves_out_what_is_not_finite(open_app, make_run):
    make_run(series={"train/loss": [3.0, float("nan"), 1.0, float("inf"), 2.0]})
    assert list(table(open_app())["trend"][0]) == [3.0, 1.0, 2.0]


def test_a_spike_is_never_lost_from_a_sparkline(open_app, make_run):
    loss = [1.0] * 5000
    loss[3333] = 77.0
    make_run(series={"train/loss": loss})
    points = list(table(open_app())["trend"][0])
    assert max(points) == 77.0
    assert len(points) <= 64


def test_a_link_brings_back_columns_order_filter_and_selection(open_app, make_run):
    ids = [make_run(f"run {n}", config={"lr": n / 10}, series={"a b/loss": [n, 9.0]}) for n in range(4)]
    app = open_app(cols="name,config.lr,min.a b/loss", sort="-config.lr", filter="config.lr > 0.05", runs=ids[1])
    assert names(app) == ["run 3", "run 2", "run 1"]
    assert list(table(app)["min.a b/loss"]) == [3.0, 2.0, 1.0]
    assert "state" not in table(app)
    assert selected(app) == [2]


def test_what_is_chosen_goes_into_the_link(open_app, make_run):
    ids = [make_run(f"run {n}", tags=["x"]) for n in range(3)]
    app = select_rows(open_app(), 0, 2)
    assert link(app, "runs") == f"{ids[2]},{ids[0]}"
    app.text_input(key="runs_find").set_value("run 1").run()
    assert link(app, "find") == "run 1"
    assert names(app) == ["run 1"]
    assert "2 selected" in texts(app)
    assert "2 not in the table" in texts(app)


def test_a_click_on_a_header_sorts_and_a_second_one_turns_around(open_app, make_run):
    for lr in (0.2, 0.1, 0.3):
        make_run(config={"lr": lr})
    app = select_rows(open_app(), 0)
    for expected, row in (([0.1, 0.2, 0.3], 2), ([0.3, 0.2, 0.1], 0)):
        app.session_state[TABLE] = {"selection": {"rows": selected(app), "columns": ["config.lr"], "cells": []}}
        app.run()
        assert list(table(app)["config.lr"]) == expected
        assert selected(app) == [row]
    assert link(app, "sort") == "-config.lr"


def test_a_new_run_at_the_top_does_not_move_the_selection(open_app, make_run, root):
    make_run("first")
    make_run("second")
    app = select_rows(open_app(), 1)
    make_run("third")
    again(app, root)
    assert names(app) == ["third", "second", "first"]
    assert selected(app) == [2]


def test_the_first_run_of_all_appears_by_itself(open_app, make_run, root):
    app = open_app()
    make_run("first")
    again(app, root)
    assert names(app) == ["first"]


def test_a_filter_with_a_mistake_shows_all_runs_and_says_what_is_wrong(open_app, make_run):
    make_run(config={"lr": 1})
    app = open_app(filter="config.l > 0")
    assert "There is no column `config.l`. Did you mean `config.lr`?" in texts(app)
    assert len(names(app)) == 1


def test_a_filter_that_no_run_matches_says_so(open_app, make_run):
    make_run()
    assert "No run matches" in texts(open_app(filter="state == failed"))


@pytest.mark.parametrize(
    "query",
    [
        {"runs": "../../etc/passwd"},
        {"runs": "%00,a/b," + "x" * 5000},
        {"sort": "nonsense"},
        {"sort": "-config.none"},
        {"cols": "nothing,config.none,last.none"},
        {"trend": "no/such/metric"},
        {"archived": "maybe"},
        {"find": "![x](http://127.0.0.1:9)"},
        {"filter": "![x](http://127.0.0.1:9) == `"},
    ],
)
def test_a_bad_link_never_crashes(open_app, make_run, query):
    make_run()
    app = open_app(**query)
    assert not app.exception
    assert app.title[0].value == "Runs"


def test_an_unknown_run_in_a_link_is_named_with_what_to_do(open_app, make_run):
    known = make_run()
    app = open_app(runs=f"{known},gone-1234")
    assert "gone-1234" in texts(app)
    assert "1 selected run is not here" in texts(app)
    assert selected(app) == [0]
    app.button(key="forget_missing").click().run()
    assert "gone-1234" not in texts(app)
    assert link(app, "runs") == known


def test_columns_that_no_run_has_are_left_out_and_named(open_app, make_run):
    make_run(config={"lr": 1})
    app = open_app(cols="name,config.lr,config.gone")
    assert "config.gone" in texts(app)
    assert list(table(app)["config.lr"]) == [1.0]


def test_tags_and_notes_and_name_are_kept_beside_the_run(open_app, make_run, root):
    run_id = make_run("old name", tags=["recorded"])
    recorded = (root / run_id / "run.json").read_bytes()
    app = select_rows(open_app(), 0)
    app.button(key="runs_edit").click().run()
    app.text_input(key="runs_edit_name").set_value("new name")
    app.text_area(key="runs_edit_notes").set_value("what I saw")
    app.multiselect(key="runs_edit_tags").set_value(["recorded"])
    app.button(key="runs_save").click().run()
    assert names(again(app, root)) == ["new name"]
    assert list(table(app)["notes"]) == ["what I saw"]
    assert (root / run_id / "run.json").read_bytes() == recorded


def test_tags_of_several_runs_are_changed_without_losing_their_own(open_app, make_run, root):
    make_run("a", tags=["own", "both"])
    make_run("b", tags=["both"])
    app = select_rows(open_app(), 0, 1)
    app.button(key="runs_edit").click().run()
    assert app.multiselect(key="runs_edit_tags").value == ["both"]
    app.multiselect(key="runs_edit_tags").set_value([])
    app.button(key="runs_save").click().run()
    assert [list(tags) for tags in table(again(app, root))["tags"]] == [[], ["own"]]


def test_a_deleted_run_comes_back_with_undo(open_app, make_run, root):
    make_run("keep")
    gone = make_run("gone")
    app = select_rows(open_app(), 0)
    app.button(key="runs_delete").click().run()
    assert names(app) == ["keep"]
    assert "Moved gone to the trash" in texts(app)
    assert "not here" not in texts(app)
    app.button(key="runs_undo").click().run()
    assert names(app) == ["gone", "keep"]
    assert selected(app) == [0]
    assert (root / gone / "run.json").is_file()


def test_the_trash_gives_runs_back_and_deletes_for_good_only_when_told(open_app, make_run, root):
    first, second = make_run("first"), make_run("second")
    make_run("third")
    edits.move_to_trash(root, first)
    edits.move_to_trash(root, second)
    app = open_app()
    app.button(key="runs_open_trash").click().run()
    app.button(key=f"restore_{first}").click().run()
    assert (root / first).is_dir()
    assert app.button(key="runs_empty").disabled
    app.checkbox(key="runs_empty_sure").check().run()
    app.button(key="runs_empty").click().run()
    assert edits.list_trash(root) == []
    assert names(again(app, root)) == ["third", "first"]


def test_a_run_that_is_still_running_is_not_deleted(open_app, make_run):
    make_run("busy", state="running")
    app = select_rows(open_app(), 0)
    app.button(key="runs_delete").click().run()
    assert "still running" in texts(app)
    assert names(app) == ["busy"]


def test_archived_runs_are_out_of_the_list_until_asked_for(open_app, make_run, root):
    make_run("old")
    make_run("new")
    app = select_rows(open_app(), 1)
    app.button(key="runs_archive").click().run()
    assert names(app) == ["new"]
    app.toggle(key="runs_archived").set_value(True).run()
    assert names(app) == ["new", "old"]
    assert list(table(app)["state"][1]) == ["finished", "archived"]
    app.button(key="runs_undo").click().run()
    assert list(table(app)["state"][1]) == ["finished"]


def test_nothing_can_be_changed_before_somebody_selected_runs(open_app, make_run):
    make_run()
    app = open_app()
    assert "pages show the newest run" in texts(app)
    assert [app.button(key=key).disabled for key in ("runs_edit", "runs_archive", "runs_delete")] == [True] * 3
    select_rows(app, 0)
    assert [app.button(key=key).disabled for key in ("runs_edit", "runs_archive", "runs_delete")] == [False] * 3
    select_rows(app)
    assert link(app, "runs") is None


def test_only_selected_runs_in_the_table_are_deleted(open_app, make_run, root):
    make_run("hidden")
    make_run("shown")
    app = select_rows(open_app(), 0, 1)
    app.text_input(key="runs_find").set_value("shown").run()
    assert app.button(key="runs_delete").label == "Delete 1"
    app.button(key="runs_delete").click().run()
    assert sorted(path.name for path in root.iterdir() if path.name != ".trash") == ["run-0000"]


def test_a_click_on_a_name_opens_that_run(open_app, make_run):
    make_run("first")
    make_run("second")
    app = open_app()
    app.session_state["runs_open"] = {"row": 1, "label": "first"}
    app.run()
    assert not app.exception
    assert link(app, "run") == "run-0000"


def test_damaged_files_cost_a_badge_and_nothing_else(open_app, make_run, root):
    bad = make_run("bad")
    make_run("good")
    (root / bad / "summary" / "0001-00000.json").write_text("{torn")
    app = open_app()
    assert not app.exception
    assert sorted(names(app)) in (["bad", "good"], ["good", bad])
    assert any("damaged" in list(badges) for badges in table(app)["state"])


def test_a_run_of_a_newer_format_and_foreign_folders_do_no_harm(open_app, make_run, root):
    newer = make_run("newer")
    path = root / newer / "summary" / "0001-00000.json"
    path.write_text(path.read_text().replace('"format":1', '"format":99').replace('"format": 1', '"format": 99'))
    make_run("good")
    (root / "notes").mkdir()
    (root / "file.parquet").write_bytes(b"PAR1 nothing")
    app = open_app()
    assert not app.exception
    assert "good" in names(app)


def test_a_run_that_is_being_recorded_is_shown_with_what_it_has_so_far(open_app, root):
    with Recorder("live", config={"lr": 0.1}, root=root, system_every_s=None) as run:
        for step in range(100):
            run.log({"train/loss": 1 / (1 + step)}, step=step)
        wait_until(lambda: names(again(open_app(), root)) == ["live"])
        app = open_app()
        wait_until(lambda: list(table(again(app, root))["steps"]) == [99])
        assert "running" in table(app)["state"][0]
    assert "finished" in table(again(app, root))["state"][0]


def test_a_run_that_was_killed_while_writing_is_whole_up_to_its_last_row(open_app, root):
    code = (
        "import os, signal\nfrom explorer import Recorder\n"
        f"run = Recorder('cut', root={str(root)!r}, system_every_s=None)\n"
        "for step in range(50):\n    run.log({'train/loss': float(50 - step)}, step=step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True)
    assert done.returncode == -9
    app = open_app()
    assert not app.exception
    assert "killed" in table(app)["state"][0]
    assert names(app) == ["cut"]


@pytest.mark.parametrize(
    "lies",
    [
        {"rows": 10**400, "last_step": -(10**30), "duration_s": 1e308},
        {"rows": -1, "duration_s": "NaN", "last_step": 0.5, "tags": "text", "name": 7, "notes": None},
        {"metrics": {"train/loss": [3, 10**400, 2, -(10**400), 0, 10**400, 1, 0, 0]}},
        {"metrics": {"train/loss": "x", "": [], "y": [1, "Infinity", 2, None, None, None, None, 0, 1]}},
        {"metrics": [], "config": [], "created": "yesterday", "state": "dancing", "warnings": {}, "overhead": 1},
        {"created": "9999-12-31T23:59:59Z", "config": {"a": {"b": {"c": [{"d": 10**400}]}}}},
    ],
)
def test_totals_that_lie_are_shown_without_a_crash(open_app, make_run, root, lies):
    run_id = make_run("liar")
    make_run("good")
    path = root / run_id / "summary" / "0001-00000.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **lies}))
    app = open_app()
    assert not app.exception
    assert not app.error
    assert "good" in names(app)
    assert len(names(app)) == 2


@pytest.mark.parametrize("name", ["a/b", "😀 漢", "x" * 1000, "![x](http://127.0.0.1:9/a.png)", ":material/home:", ""])
def test_any_name_can_be_shown(open_app, make_run, name):
    make_run(name, tags=[name or "-"], notes=name, config={name or "-": name}, series={f"{name}/loss": [1.0, 2.0]})
    app = open_app()
    assert not app.exception
    assert not app.error
    assert len(names(app)) == 1


def test_settings_of_every_kind_can_be_shown(open_app, make_run):
    values = [None, True, 1, 2**60, 10**400, 0.5, "text", [1, "a"], {}, "1", ""]
    for value in values:
        make_run(config={"x": value})
    app = open_app(cols="name,config.x")
    assert not app.exception
    assert "1152921504606846976" in list(table(app)["config.x"])


def test_a_run_deleted_by_someone_else_leaves_the_table(open_app, make_run, root):
    gone = make_run("gone")
    make_run("stays")
    app = open_app()
    shutil.rmtree(root / gone)
    assert names(again(app, root)) == ["stays"]


def test_the_demo_is_recorded_live_and_told_how_far_it_is(open_app, root, monkeypatch):
    lines = "import time; print(' 42%  training cnn', flush=True); time.sleep(60)"
    monkeypatch.setattr(runs_demo, "_command", lambda root: [sys.executable, "-c", lines])
    app = open_app()
    app.button(key="demo_start").click().run()
    job = runs_demo.demo_job(str(root))
    wait_until(lambda: job.progress().share == 0.42)
    app.run()
    assert app.button(key="demo_start").disabled
    assert job.progress().what == "training cnn"
    app.button(key="demo_stop").click().run()
    wait_until(lambda: job.progress().phase == "stopped")
    app.run()
    assert "The demo was stopped" in texts(app)


def test_a_demo_that_fails_shows_what_it_printed(open_app, root, monkeypatch):
    code = "print('scikit-learn is missing'); raise SystemExit(3)"
    monkeypatch.setattr(runs_demo, "_command", lambda root: [sys.executable, "-c", code])
    app = open_app()
    app.button(key="demo_start").click().run()
    wait_until(lambda: runs_demo.demo_job(str(root)).progress().lines == ["scikit-learn is missing"])
    wait_until(lambda: runs_demo.demo_job(str(root)).progress().phase == "failed")
    app.run()
    assert "The demo ended before it was done" in texts(app)
    assert "scikit-learn is missing" in app.code[-1].value


def test_an_error_in_a_page_is_a_message_and_no_traceback(open_app, make_run, monkeypatch):
    make_run()

    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("**odd** value")

    monkeypatch.setattr("explorer.app.runs_grid.make_view", fail)
    app = open_app()
    assert not app.exception
    assert "The runs table cannot be shown" in texts(app)
    assert "ValueError: **odd** value" in texts(app)


@pytest.mark.parametrize("name", ["server.address", "client.showErrorDetails"])
def test_a_server_that_is_open_to_others_shows_nothing(open_app, make_run, monkeypatch, name):
    from explorer.app import shell

    make_run("secret")
    monkeypatch.setitem(shell.HARDENED, name, "something else")
    app = open_app()
    assert name in texts(app)
    assert not app.dataframe
    monkeypatch.setenv("EXPLORER_EXPOSE", "1")
    assert names(open_app()) == ["secret"]


def test_the_first_page_opens_without_torch(root, make_run):
    make_run()
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('streamlit_app.py', default_timeout=30).run()\n"
        "assert not app.exception and len(app.dataframe) == 1\n"
        "print(sorted(set(sys.modules) & {'torch', 'altair', 'captum', 'sklearn', 'duckdb'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "EXPLORER_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def wait_until(condition, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
