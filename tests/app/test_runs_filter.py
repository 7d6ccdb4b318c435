"""The filter says what it means, and says clearly when it does not understand."""

from datetime import datetime, timezone

import pytest

from explorer.app.runs_conditions import FilterError
from explorer.app.runs_fields import Tokens, find_field, sort_runs
from explorer.app.runs_filter import parse_filter
from explorer.reading.catalogue import MetricSummary, RunInfo


def run(run_id: str, **kwargs: object) -> RunInfo:
    return RunInfo(run_id=run_id, path=None, created=datetime(2026, 3, int(run_id[-1]), tzinfo=timezone.utc), **kwargs)


def metric(last: float, low: float | None, high: float | None) -> MetricSummary:
    return MetricSummary(3, last, 2, low, 0, high, 1, 0, 0)


RUNS = [
    run(
        "r1",
        name="Adam small",
        state="finished",
        duration_s=30,
        tags=("keep", "v2"),
        config={"lr": 0.1, "opt": "adam", "model": {"width": 32}},
        metrics={"val/loss": metric(0.5, 0.4, 2.0), "val/acc": metric(0.9, 0.1, 0.95)},
    ),
    run(
        "r2",
        name="SGD big",
        state="failed",
        duration_s=4000,
        config={"lr": 0.001, "opt": "sgd", "nesterov": True},
        metrics={"val/loss": metric(float("nan"), None, None)},
    ),
    run("r3", name="bare", state="running", notes="look at this", config={"lr": "auto", "big": 10**400}),
]
KNOWN = Tokens(RUNS)


def matching(text: str) -> str:
    keep = parse_filter(text, KNOWN)
    return " ".join(info.run_id for info in RUNS if keep(info))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "r1 r2 r3"),
        ("state == finished", "r1"),
        ("state = FAILED", "r2"),
        ("state != finished", "r2 r3"),
        ("config.lr > 0.01", "r1"),
        ("config.lr <= 0.1", "r1 r2"),
        ("config.lr == 1e-1", "r1"),
        ("config.lr == auto", "r3"),
        ('config.lr == "0.1"', "r1"),
        ("config.model.width >= 32", "r1"),
        ("config.nesterov == true", "r2"),
        ("config.nesterov", "r2"),
        ("not config.nesterov", "r1 r3"),
        ("config.nesterov == none", "r1 r3"),
        ("config.nesterov != none", "r2"),
        ("config.opt in (adam, rmsprop)", "r1"),
        ("config.opt not in (adam, rmsprop)", "r2 r3"),
        ("config.big > 1e300", "r3"),
        ("best.val/loss < 0.45", "r1"),
        ("best.val/acc == 0.95", "r1"),
        ("last.val/loss == nan", "r2"),
        ("last.val/loss > 0", "r1"),
        ("`last.val/loss` > 0", "r1"),
        ("tags == keep", "r1"),
        ("tags contains V", "r1"),
        ("name contains 'big'", "r2"),
        ("notes contains look", "r3"),
        ("duration > 1h", "r2"),
        ("duration < 1m and duration > 0.4m", "r1"),
        ("created >= 2026-03-02", "r2 r3"),
        ("state == failed or state == running and notes contains look", "r2 r3"),
        ("(state == failed or state == running) and notes contains look", "r3"),
        ("NOT (state == failed) AND NOT state == running", "r1"),
    ],
)
def test_a_filter_keeps_the_runs_that_it_describes(text, expected):
    assert matching(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stat == finished", "There is no column `stat`. Did you mean `state`"),
        ("lr > 0.1", "Did you mean `config.lr`"),
        ("acc > 0.1", "val/acc"),
        ("config.lr >", "ends after `>`"),
        ("config.lr > small", "compares numbers; `small`"),
        ("state == done", "is no state; a run is running, finished"),
        ("state == finished and", "ends where a column was expected"),
        ("state == finished state == failed", "Expected `and` or `or` before 'state' at character 19"),
        ("(state == finished", "Expected `)`, found the end"),
        ("name == 'open", "a quote that is not closed at character 9"),
        ("config.opt in adam", "Expected `(`"),
        ("config.opt not adam", "Expected `in`"),
        ("created > yesterday", "is no date; write `created > 2026-01-31`"),
        ("== 3", "Expected a column at character 1"),
        ("state == (", "Expected a number, a word or a quoted text"),
        ("! state", "at character 1"),
        ("(" * 200 + "state", "stand inside each other"),
        ("not " * 200 + "state", "stand inside each other"),
        ("state == finished or " * 200, "too long"),
    ],
)
def test_a_filter_that_cannot_be_read_says_where_and_what_to_write(text, says):
    with pytest.raises(FilterError) as error:
        parse_filter(text, KNOWN)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text", ["__import__('os').system('x')", "config.lr.__class__", "lambda: 0", "1 == 1", "state; 1"]
)
def test_code_in_a_filter_is_never_run(text):
    with pytest.raises(FilterError):
        parse_filter(text, KNOWN)


def test_runs_without_a_value_come_last_in_either_order():
    field = find_field("best.val/loss")
    assert [info.run_id for info in sort_runs(RUNS, field, descending=False)] == ["r1", "r2", "r3"]
    assert [info.run_id for info in sort_runs(RUNS, field, descending=True)] == ["r1", "r2", "r3"]


def test_numbers_sort_as_numbers_and_before_texts():
    assert [info.run_id for info in sort_runs(RUNS, find_field("config.lr"), descending=False)] == ["r2", "r1", "r3"]
