"""A run that format 1 recorded opens for ever, with every bit as it was logged.

`format-1/golden` was recorded by the recorder itself: an attempt that finished, and one that was killed while its rows
were still in a journal. `truth.json` lists what was logged, floats as their bits. Neither is ever changed.
"""

import json
import math
import struct
from pathlib import Path

import pytest

from explorer import open_run
from explorer.storage.verify import verify_run

HERE = Path(__file__).parent / "format-1"


@pytest.fixture(scope="module")
def truth():
    rows = json.loads((HERE / "truth.json").read_text())
    for row in rows:
        row["values"] = {
            name: value if isinstance(value, int) else bytes.fromhex(value) for name, value in row["values"].items()
        }
    return rows


def as_bits(value):
    return value if isinstance(value, int) and abs(value) > 2**53 else struct.pack(">d", value)


def test_every_row_is_there_with_every_bit(truth, rows_of):
    found = [
        (attempt, step, {n: as_bits(v) for n, v in row.items()}) for attempt, _, step, row in rows_of(HERE / "golden")
    ]
    by_metric = {}
    for attempt, step, row in found:
        for name, value in row.items():
            by_metric.setdefault((attempt, name), []).append((step, value))
    expected = {}
    for row in truth:
        for name, value in row["values"].items():
            expected.setdefault((row["attempt"], name), []).append((row["step"], value))
    assert by_metric == expected


def test_nothing_in_it_is_damaged():
    assert verify_run(HERE / "golden") == []


def test_its_facts_read_as_they_were_written():
    run = open_run(HERE / "golden")
    assert run.info.name == "Renamed"
    assert run.info.group == "goldens"
    assert run.info.tags == ("edited",)
    assert run.info.notes == "by hand"
    assert run.config["model"] == {"width": 32, "act": "relu", "depth": 3}
    assert run.config["lr"] == 0.1
    assert len(run.attempts) == 2
    assert run.git["commit"].startswith("0123456789abcdef")
    assert run.problems == ()


def test_its_newest_attempt_counts_where_two_have_a_step():
    frame = open_run(HERE / "golden").scalars("train/loss").set_index("step")["train/loss"]
    assert frame.loc[889] == 1 / 890
    assert frame.loc[890] == 2 / 891
    assert frame.index.max() == 949


def test_metrics_of_every_name_are_found():
    metrics = open_run(HERE / "golden").metrics
    assert {"step", "wall_time", "metric:x", "a/b", "../../x", "loss 🔥", "x" * 1_000, "tab\there"} <= set(metrics)
    assert math.isinf(open_run(HERE / "golden").scalars("special")["special"].max())


def test_its_system_metrics_are_there():
    assert "system/memory_mib" in open_run(HERE / "golden").system().columns
