import errno
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from explorer.errors import RootError, RunNotFound
from explorer.reading.catalogue import Catalogue, read_info

PROJECT = Path(__file__).parents[2]


def settle(*folders):
    """As if the folders had been left alone for a while, so that their time stamps are believed."""
    for folder in folders:
        then = time.time() - 60
        os.utime(folder, (then, then))


def only(root):
    (info,) = Catalogue(root).refresh()
    return info


def test_a_run_is_listed_as_its_summary_tells_it(root, run):
    run.summary(
        name="Digits ☃", group="sweep", tags=["good"], notes="first", state="failed", duration_s=12.5, last_step=99,
        error={"type": "ValueError", "message": "no", "traceback": "..."}, warnings=["slow disk"], dropped_rows=3,
    )  # fmt: skip
    info = only(root)
    assert (info.run_id, info.path, info.name, info.group) == (run.path.name, run.path, "Digits ☃", "sweep")
    assert (info.tags, info.notes, info.archived, info.state) == (("good",), "first", False, "failed")
    assert info.created == datetime(2026, 11, 20, 10, tzinfo=timezone.utc)
    assert (info.duration_s, info.last_step, info.rows, info.dropped_rows) == (12.5, 99, 100, 3)
    assert info.config == {"lr": 0.1, "model": {"width": 32}}
    assert info.flat_config == {"lr": 0.1, "model.width": 32}
    assert info.error.type == "ValueError"
    assert info.warnings == ("slow disk",)
    assert info.problems == ()
    loss = info.metrics["train/loss"]
    assert (loss.n, loss.last, loss.last_step, loss.min, loss.min_step, loss.max) == (100, 0.25, 99, 0.125, 80, 2.5)


def test_runs_are_listed_newest_first(root, make_run):
    for day in (3, 1, 2):
        make_run(f"run-{day}").summary(created=f"2026-11-0{day}T10:00:00Z")
    assert [info.run_id for info in Catalogue(root).refresh()] == ["run-3", "run-2", "run-1"]


def test_values_that_json_cannot_hold_come_back(root, run):
    run.summary(
        metrics={"loss": [3, "NaN", 2, None, None, None, None, 2, 1], "up": [1, "-Infinity", 0, *[None] * 4, 0, 1]}
    )
    info = only(root)
    assert info.metrics["loss"].last != info.metrics["loss"].last
    assert info.metrics["loss"].min is None
    assert info.metrics["up"].last == float("-inf")


def test_what_the_user_edited_is_shown_instead_of_what_was_recorded(root, run):
    run.summary(name="recorded", tags=["a"], notes="then")
    run.write_json("user.json", {"name": "renamed", "tags": [], "notes": "now", "archived": True})
    info = only(root)
    assert (info.name, info.tags, info.notes, info.archived) == ("renamed", (), "now", True)


def test_a_later_look_sees_each_change_and_keeps_what_did_not_change(root, make_run):
    one, two = make_run("run-1"), make_run("run-2")
    one.summary(rows=1)
    two.summary(rows=1)
    catalogue = Catalogue(root)
    first = {info.run_id: info for info in catalogue.refresh()}
    two.summary(rows=2)
    second = {info.run_id: info for info in catalogue.refresh()}
    assert second["run-1"] is first["run-1"]
    assert second["run-2"].rows == 2
    two.write_json("user.json", {"name": "renamed"})
    assert {info.name for info in catalogue.refresh()} == {"run-1", "renamed"}
    (two.path / "user.json").unlink()
    assert {info.name for info in catalogue.refresh()} == {"run-1", "run-2"}


def test_a_settled_run_is_not_read_again_and_still_seen_to_change(root, run):
    run.summary(rows=1)
    settle(run.path / "summary", run.path)
    catalogue = Catalogue(root)
    first = catalogue.refresh()[0]
    assert catalogue.refresh()[0] is first
    run.summary(rows=2)
    settle(run.path / "summary", run.path)  # a replaced file is another one, whatever the folder's stamp says
    assert catalogue.refresh()[0].rows == 2


def test_an_attempt_that_begins_later_adds_to_what_was_listed_before(root, run):
    run.summary(1, rows=3, duration_s=1.0)
    catalogue = Catalogue(root)
    assert catalogue.refresh()[0].rows == 3
    run.summary(2, rows=4, duration_s=2.0)
    info = catalogue.refresh()[0]
    assert (info.rows, info.duration_s, info.num_attempts) == (7, 3.0, 2)
    assert info.metrics["train/loss"].n == 200


def test_an_edited_run_keeps_what_its_summary_says(root, run):
    run.summary(rows=3, tags=["recorded"])
    catalogue = Catalogue(root)
    before = catalogue.refresh()[0]
    run.write_json("user.json", {"notes": "looked at"})
    after = catalogue.refresh()[0]
    assert after.notes == "looked at"
    assert (after.rows, after.tags, after.config) == (3, ("recorded",), before.config)
    assert dict(after.metrics) == dict(before.metrics)


def test_an_edit_right_after_the_first_look_is_seen(root, run):
    run.summary()
    settle(run.path / "summary", run.path)
    catalogue = Catalogue(root)
    first = catalogue.refresh()[0]
    run.write_json("user.json", {"name": "renamed"})
    settle(run.path)  # between the two looks, with a stamp that tells of nothing new
    assert catalogue.refresh()[0].name == "renamed"
    (run.path / "user.json").unlink()
    assert catalogue.refresh()[0].name == first.name


def test_runs_come_and_go(root, make_run):
    make_run("run-1").summary()
    catalogue = Catalogue(root)
    assert len(catalogue.refresh()) == 1
    make_run("run-2").summary()
    assert len(catalogue.refresh()) == 2
    shutil.rmtree(root / "run-1")
    assert [info.run_id for info in catalogue.refresh()] == ["run-2"]


def test_a_run_that_was_replaced_by_another_of_the_same_id_is_read_anew(root, make_run):
    make_run("run-1").summary(rows=1)
    catalogue = Catalogue(root)
    catalogue.refresh()
    (root / "run-1").rename(root / ".gone")
    make_run("run-1").summary(rows=2)
    assert catalogue.refresh()[0].rows == 2


def test_several_attempts_are_one_run(root, run):
    old = [10, 0.5, 9, 0.1, 4, 2.0, 0, 1, 0]
    new = [5, 0.3, 14, 0.2, 13, 3.0, 10, 0, 2]
    run.summary(attempt=1, state="killed", rows=10, duration_s=5.0, metrics={"loss": old, "early": old})
    run.summary(attempt=2, state="finished", rows=5, duration_s=2.0, last_step=14, metrics={"loss": new})
    info = only(root)
    assert (info.state, info.num_attempts, info.rows, info.duration_s, info.last_step) == ("finished", 2, 15, 7.0, 14)
    assert info.metrics["loss"] == (15, 0.3, 14, 0.1, 4, 3.0, 10, 1, 2)
    assert info.metrics["early"].last == 0.5


def test_of_several_ranks_the_lowest_is_shown(root, run):
    for rank in (0, 1, 2):
        run.summary(rank=rank, rows=100 + rank)
    run.summary(attempt=2, rank=1, rows=1)
    info = only(root)
    assert (info.num_ranks, info.num_attempts, info.rows) == (3, 2, 101)


def test_a_run_that_has_only_just_begun_is_listed(root, run):
    info = only(root)
    assert (info.name, info.rows, info.last_step, dict(info.metrics)) == (run.path.name, 0, None, {})
    assert info.problems


def test_a_run_that_begins_while_we_look_is_seen_once_it_has_a_summary(root, run):
    catalogue = Catalogue(root)
    catalogue.refresh()
    run.summary(rows=7)
    (info,) = catalogue.refresh()
    assert (info.rows, info.problems) == (7, ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "list"),
        ("", "not valid JSON"),
        ('{"format": 1, "name": NaN}', "not valid JSON"),
        ("{}", "format"),
        ('{"format": 2}', "Upgrade"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_damaged_summary_is_named_and_costs_only_itself(root, run, make_run, content, reason):
    run.write_json("summary/0001-00000.json", content)
    make_run("other").summary()
    infos = {info.run_id: info for info in Catalogue(root).refresh()}
    assert infos["other"].problems == ()
    (problem,) = [each for each in infos[run.path.name].problems if each.startswith("summary/0001-00000.json: ")]
    assert reason in problem


def test_a_damaged_user_json_is_named_and_what_was_recorded_is_shown(root, run):
    run.summary(name="recorded")
    run.write_json("user.json", "{")
    info = only(root)
    assert info.name == "recorded"
    assert info.problems[0].startswith("user.json: ")


@pytest.mark.parametrize("value", [None, True, -1, "text", [1], {"a": 1}, "é" * 10_000])
def test_a_value_of_another_type_counts_as_absent(root, run, value):
    keys = [key for key in json.loads((run.path / "run.json").read_text()) if key != "format"]
    run.summary(**dict.fromkeys([*keys, "tags", "notes", "metrics", "state", "error", "duration_s", "rows"], value))
    run.write_json("user.json", dict.fromkeys(["name", "tags", "notes", "archived"], value))
    info = only(root)
    assert isinstance(info.name, str)
    assert all(isinstance(tag, str) for tag in info.tags)
    assert isinstance(info.rows, int)
    assert dict(info.metrics) == {}
    assert info.created.tzinfo is not None


@pytest.mark.parametrize("row", [None, 3, [], [1] * 8, [1] * 10, "text"])
def test_a_metric_with_totals_that_are_none_is_left_out(root, run, row):
    run.summary(metrics={"bad": row, "good": [1, 2.0, 0, 2.0, 0, 2.0, 0, 0, 0]})
    assert list(only(root).metrics) == ["good"]


def test_names_that_are_not_ours_are_ignored(root, run, make_run, tmp_path):
    run.summary()
    elsewhere = make_run("real")
    elsewhere.summary(rows=5)
    shutil.move(elsewhere.path, tmp_path / "real")
    (root / "linked").symlink_to(tmp_path / "real")
    (root / ".hidden").mkdir()
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("mine")
    (root / "odd name").mkdir()
    (run.path / "summary" / "0002-00000.json").symlink_to(tmp_path / "real" / "summary" / "0001-00000.json")
    (run.path / "summary" / "0003-00000.json.tmp").write_text("{}")
    (run.path / "summary" / "٠٠٠٤-00000.json").write_text("{}")
    infos = Catalogue(root).refresh()
    assert [info.run_id for info in infos] == [run.path.name]
    assert (infos[0].num_attempts, infos[0].rows) == (1, 100)


@pytest.mark.parametrize("name", ["summary", "user.json"])
def test_links_inside_a_run_are_not_followed(root, run, tmp_path, name):
    run.summary()
    outside = tmp_path / "outside"
    if name == "summary":
        shutil.move(run.path / name, outside)
    else:
        outside.write_text('{"name": "from outside"}')
    (run.path / name).symlink_to(outside)
    info = only(root)
    assert info.name == run.path.name
    assert info.problems


def test_a_pipe_in_the_place_of_a_file_does_not_hang(root, run):
    run.summary()
    os.mkfifo(run.path / "user.json")
    assert "regular file" in only(root).problems[0]


def test_a_root_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(RootError, match="there is no folder"):
        Catalogue(tmp_path / "nowhere").refresh()
    (tmp_path / "file").write_text("")
    with pytest.raises(RootError, match="is a file"):
        Catalogue(tmp_path / "file").refresh()


def test_one_run_is_read_from_its_folder(run):
    run.summary(rows=5)
    assert read_info(run.path).rows == 5
    with pytest.raises(RunNotFound, match=r"run\.json"):
        read_info(run.path / "summary")
    with pytest.raises(RunNotFound):
        Catalogue(run.path.parent).look("../logs")


def test_listing_reads_no_series_and_imports_nothing_heavy(root, run):
    run.summary()
    run.segment(1, step=[0], loss=[1.0])
    code = (
        "import sys; from explorer.reading.catalogue import Catalogue; "
        f"Catalogue({str(root)!r}).refresh()[0].metrics['train/loss']; "
        "print({'pandas', 'pyarrow', 'numpy', 'torch', 'streamlit'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_a_run_whose_summaries_cannot_be_listed_is_named_and_the_others_are_shown(root, make_run, monkeypatch):
    closed, fine = make_run("closed"), make_run("fine")
    closed.summary()
    fine.summary()
    listdir = os.listdir

    def refuse(folder):  # root may read everything
        if os.fspath(folder) == os.path.join(root, closed.path.name, "summary"):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    catalogue = Catalogue(root)
    infos = {info.run_id: info for info in catalogue.refresh()}
    assert infos.keys() == {closed.path.name, fine.path.name}
    assert any("Permission denied" in problem for problem in infos[closed.path.name].problems)
    assert not infos[fine.path.name].problems
    monkeypatch.undo()
    assert not catalogue.look(closed.path.name).problems
