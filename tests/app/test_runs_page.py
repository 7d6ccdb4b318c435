"""The Runs page as a user meets it: empty, full, from a good link and a bad one."""

import os

import pytest

from tests.app.runs_page import TABLE, again, link, names, select_rows, selected, table, texts


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
