"""The Metrics page: which charts there are, where they stand, and how they are found."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from explorer.app.metrics_groups import BadPattern, matching
from tests.app.metrics_page import captions, charts, spec_of, table, titles

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]

HOSTILE = "[click](http://evil.example) ![i](http://evil.example/x.png) <b>x</b> :red[hi] $x$ a'b]\"c"


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("metrics")
    assert not app.exception
    assert "no runs" in app.info[0].value


def test_no_selected_run_says_where_to_select(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("metrics", runs="none")
    assert not app.exception
    assert "No run is selected" in app.info[0].value


def test_a_run_that_has_recorded_nothing_says_so(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={})
    app = open_app("metrics")
    assert not app.exception
    assert "recorded no metrics" in app.info[0].value


def test_every_value_of_short_runs_is_drawn_under_its_label(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run("a", series={"train/loss": [3.0, 2.0, 1.0]})
    make_run("b", series={"train/loss": [5.0, 4.0]})
    app = open_app("metrics")
    lines = table(charts(app)[0], "lines")
    assert lines[lines.series == "a"][["x", "y"]].to_numpy().tolist() == [[0, 3], [1, 2], [2, 1]]
    assert lines[lines.series == "b"][["x", "y"]].to_numpy().tolist() == [[0, 5], [1, 4]]
    assert "2 runs · 5 points · every point" in captions(app)


def test_metrics_stand_in_sections_by_prefix_with_the_ones_that_matter_first(
    open_app: OpenApp, make_run: MakeRun
) -> None:
    names = ["zeta/a", "val/loss", "train/loss", "lr", "layer/10/x", "layer/9/x"]
    make_run(series={name: [1.0, 2.0] for name in names})
    app = open_app("metrics")
    assert [box.label.split("**")[1] for box in app.expander] == ["train", "val", "Other metrics", "layer", "zeta"]
    found = [title.strip("*").replace("\\", "") for title in titles(app) if "Selected" not in title]
    assert [name for name in found if name in names] == [
        "train/loss",
        "val/loss",
        "lr",
        "layer/9/x",
        "layer/10/x",
        "zeta/a",
    ]


def test_many_metrics_draw_only_one_page_of_the_first_section(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={f"{prefix}/{k}": [1.0, 2.0] for prefix in "abc" for k in range(100)})
    app = open_app("metrics")
    assert len(app.expander) == 3
    assert len(charts(app)) == 12


def test_a_link_opens_a_section_and_turns_its_page(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={f"{prefix}/{k}": [1.0, 2.0] for prefix in "ab" for k in range(30)})
    app = open_app("metrics", open="b", turn="3:b")
    assert len(charts(app)) == 18
    assert "**b/24**" in [title.replace("\\", "") for title in titles(app)]


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "\\", "a{1000000}", "\ud800"])
def test_what_is_no_regular_expression_is_told(pattern: str) -> None:
    with pytest.raises(BadPattern):
        matching(["loss"], pattern)


def test_a_search_from_a_link_takes_no_longer_than_the_names_are_long() -> None:
    names = ["a" * length + "!" for length in range(1_000)]  # Python's own expressions need 2 ** 1000 steps
    assert matching(names, "^(a+)+$") == []
    assert matching(["Train/Loss", "val/loss", "\ud800"], "LOSS$") == ["Train/Loss", "val/loss"]


def test_a_regular_expression_finds_metrics_in_all_sections(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"train/loss": [1.0], "val/LOSS": [1.0], "val/acc": [1.0]})
    app = open_app("metrics", q="loss$")
    assert len(charts(app)) == 2
    assert "2 of 3 metrics" in captions(app)


def test_a_broken_expression_is_named_and_everything_is_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(series={"train/loss": [1.0], "val/acc": [1.0]})
    app = open_app("metrics", q="(loss")
    assert not app.exception
    assert "is not a regular expression" in app.warning[0].value
    assert len(charts(app)) == 2


def test_an_expression_that_finds_nothing_says_so(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("metrics", q="nothing")
    assert "None of the 1 metrics matches" in app.info[0].value


def test_names_that_mean_something_to_markdown_or_vega_are_only_shown(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(HOSTILE, config={HOSTILE: 1}, series={HOSTILE: [1.0, 2.0], "title": [1.0], "image": [1.0]}, group=HOSTILE)
    make_run("image", config={HOSTILE: 2}, series={"image": [1.0]})
    for query in ({}, {"group": "group"}, {"group": f"config:{HOSTILE}"}, {"x": f"metric:{HOSTILE}"}):
        app = open_app("metrics", **query)
        assert not app.exception
        assert not app.error
        shown = "\n".join(str(element.value) for kind in ("markdown", "caption") for element in app.get(kind))
        assert "](http" not in shown
        assert "<b>" not in shown
        for chart in charts(app):
            fields = json.dumps([layer["encoding"] for layer in spec_of(chart)["layer"]])
            assert '"field": "[click' not in fields


@pytest.mark.parametrize(("state", "can_pause"), [("finished", False), ("running", True)])
def test_only_a_running_run_can_be_paused(state: str, can_pause: bool, open_app: OpenApp, make_run: MakeRun) -> None:
    make_run(state=state)
    app = open_app("metrics")
    assert not app.exception
    assert any(toggle.label == "Pause" for toggle in app.toggle) is can_pause
