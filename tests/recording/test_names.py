"""Any text is the name of a metric, and no name is a path."""

import os

import pytest

from explorer import RecorderWarning

HARMLESS = [
    "train/loss",
    "../../etc/passwd",
    "/absolute",
    "loss 🔥",
    "x" * 1_000,
    "step",
    "wall_time",
    "metric:x",
    "metric:step",
    "a\nb\tc",
    "Ünï‮cødé",
    "a%2Fb",
    "007",
    ".",
    "~",
    "'\"`$(rm -rf)`",
    "![x](http://example.invalid)",
    "e\u0301",
    "\u00e9",
    "Loss",
    "loss",
]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_comes_back_as_it_was(recorded, summary_of, name):
    assert recorded({name: 0.5}, {name: 0.25}) == [{name: 0.5}, {name: 0.25}]


def test_all_these_names_live_side_by_side_in_one_row(recorded):
    row = {name: float(number) for number, name in enumerate(HARMLESS)}
    assert recorded(row, row) == [row, row]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("x" * 2_000, "x" * 1_021 + "…"),
        ("é" * 1_000, "é" * 510 + "…"),
        ("", "(no name)"),
        ("a\0b", "a�b"),
        ("a\udc80b", "a�b"),
        (7, "7"),
        (None, "None"),
        (("a", 1), "('a', 1)"),
    ],
)
def test_a_name_that_cannot_be_kept_is_changed_and_said(recorded, given, kept):
    with pytest.warns(RecorderWarning, match="was changed"):
        found = recorded({given: 0.5}, {given: 0.25})
    assert found == [{kept: 0.5}, {kept: 0.25}]


def test_two_names_that_become_one_keep_the_first_value(recorded):
    with pytest.warns(RecorderWarning) as said:
        found = recorded({"a\0": 1.0, "a\udc80": 2.0})
    assert found == [{"a\ufffd": 1.0}]
    assert any("two names became the same" in str(each.message) for each in said)


def test_no_name_ever_becomes_a_file(record, tmp_path):
    recorder = record("../../evil name 🔥\0")
    recorder.log(dict.fromkeys(HARMLESS, 0.0))
    recorder.close()
    files = {
        os.path.relpath(os.path.join(folder, name), tmp_path)
        for folder, _, names in os.walk(tmp_path)
        for name in names
    }
    parts = {part for file in files for part in file.split(os.sep)}
    assert parts <= {
        recorder.run_id, "run.json", "git.diff", "attempts", "summary", "scalars", "0001-00000.json",
        "0001-00000-000001.parquet",
    }  # fmt: skip


def test_a_row_wider_than_a_shape_comes_back_as_one_row(recorded):
    row = {f"m{number}": float(number) for number in range(10_001)}
    assert sum(map(len, recorded(row))) == 10_001


def test_thousands_of_names_over_time_are_all_kept(record, rows_of, summary_of):
    recorder = record()
    for step in range(1_200):
        recorder.log({f"layer{step}/loss": float(step)}, step=step)
    recorder.close()
    rows = rows_of(recorder.path)
    assert sorted((step, row) for _, _, step, row in rows) == [(n, {f"layer{n}/loss": n}) for n in range(1_200)]
    assert summary_of(recorder)["scalars"] == 1_200
