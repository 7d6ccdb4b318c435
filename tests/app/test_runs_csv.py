"""The CSV holds what the table shows, exactly, and nothing that a spreadsheet would run."""

import csv
import io
from datetime import datetime, timezone

import pytest

from explorer.app.runs_csv import write_csv
from explorer.app.runs_fields import find_field
from explorer.reading.catalogue import RunInfo


def info(**kwargs: object) -> RunInfo:
    return RunInfo(run_id="r1", path=None, created=datetime(2026, 3, 1, 9, tzinfo=timezone.utc), **kwargs)


def rows(runs: list[RunInfo], *tokens: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(write_csv(runs, [find_field(token) for token in tokens]))))


def test_values_keep_every_digit_and_their_unit():
    run = info(config={"lr": 0.1 + 0.2, "id": 2**60 + 1, "nested": {"a": [1, 2]}}, duration_s=61.25, tags=("a", "b"))
    assert rows([run], "config.lr", "config.id", "config.nested.a", "duration", "created", "tags", "config.none") == [
        ["config.lr", "config.id", "config.nested.a", "duration", "created", "tags", "config.none", "id"],
        ["0.30000000000000004", "1152921504606846977", "[1, 2]", "61.25", "2026-03-01T09:00:00Z", "a, b", "", "r1"],
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", '=cmd|"/c calc"!A0', "%0A=1"])
def test_a_text_that_a_spreadsheet_would_run_begins_with_a_quote(text):
    assert rows([info(notes=text)], "notes")[1][0] == f"'{text}"


def test_a_negative_number_stays_a_number():
    assert rows([info(config={"shift": -1.5})], "config.shift")[1][0] == "-1.5"


def test_a_name_of_a_column_can_be_hostile_too():
    assert rows([info(config={"=x": 1})], "config.=x")[0][0] == "config.=x"
    assert rows([info(notes='a "quoted", text\nof two lines')], "notes")[1][0] == 'a "quoted", text\nof two lines'


def test_the_id_is_there_once():
    assert rows([info(name="x")], "id", "name") == [["id", "name"], ["r1", "x"]]
