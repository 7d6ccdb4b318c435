"""The Runs page on half-written, damaged, hostile and foreign runs, and the demo it offers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from explorer import Recorder
from explorer.app import runs_demo
from tests.app.runs_page import again, names, table, texts, wait_until


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
