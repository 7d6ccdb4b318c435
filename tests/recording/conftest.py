"""Short recordings into a folder of the test's own."""

import json

import pytest

from explorer import Recorder


@pytest.fixture
def record(tmp_path):
    """`record(**options)` is an open recorder that is closed at the end of the test."""
    opened = []

    def start(name="test", **options):
        options = {"root": tmp_path, "system_every_s": None, "quiet": True} | options
        recorder = Recorder(name, **options)
        opened.append(recorder)
        return recorder

    yield start
    for recorder in opened:
        recorder.close()


@pytest.fixture
def recorded(record, rows_of):
    """`recorded({"a": 1.0}, ...)` logs these rows, one a step, and gives back what is on disk."""

    def run(*rows, **options):
        recorder = record(**options)
        for row in rows:
            recorder.log(row)
        recorder.close()
        return [row for _, _, _, row in rows_of(recorder.path)]

    return run


@pytest.fixture
def summary_of():
    """`summary_of(recorder)` is the JSON of its newest summary."""

    def read(recorder):
        return json.loads(sorted((recorder.path / "summary").iterdir())[-1].read_text())

    return read
