import json

import pytest

from explorer.errors import RootError, RunNotFound, UsageError
from explorer.reading.catalogue import Catalogue, read_info
from explorer.reading.edits import archive, empty_trash, list_trash, move_to_trash, restore, write_user


def test_an_edit_keeps_the_others_and_what_was_recorded(run):
    run.summary(name="recorded", notes="then")
    recorded = (run.path / "run.json").read_bytes()
    write_user(run.path, name="  mine ", tags=["b", " a", "b", ""])
    write_user(run.path, notes="now")
    archive(run.path)
    info = read_info(run.path)
    assert (info.name, info.tags, info.notes, info.archived) == ("mine", ("b", "a"), "now", True)
    archive(run.path, False)
    assert not read_info(run.path).archived
    assert (run.path / "run.json").read_bytes() == recorded


def test_an_empty_name_brings_the_recorded_one_back_and_empty_tags_stay_empty(run):
    run.summary(name="recorded", tags=["old"])
    write_user(run.path, name="mine", tags=[])
    write_user(run.path, name="")
    info = read_info(run.path)
    assert (info.name, info.tags) == ("recorded", ())


@pytest.mark.parametrize("name", ["Ünïcode ☃ 🤖", "a/b\\c", "../../etc", "x" * 1_000, "<b>bold</b>", "line\nbreak"])
def test_any_text_is_a_name(run, name):
    run.summary()
    write_user(run.path, name=name)
    assert read_info(run.path).name == name


def test_keys_that_a_newer_version_wrote_are_kept(run):
    run.write_json("user.json", {"colour": "red", "name": "x"})
    write_user(run.path, name="y")
    assert json.loads((run.path / "user.json").read_text()) == {"colour": "red", "name": "y"}


def test_damaged_edits_are_set_aside_not_lost(run):
    run.summary()
    run.write_json("user.json", '{"name": "almo')
    write_user(run.path, name="new")
    assert (run.path / "user.json.damaged").read_text() == '{"name": "almo'
    assert read_info(run.path).name == "new"
    assert read_info(run.path).problems == ()


@pytest.mark.parametrize("wrong", [{"name": "x" * 1_001}, {"tags": ["x"] and "abc"}, {"tags": ["t" * 1_001]}])
def test_an_edit_that_is_too_long_or_no_list_is_refused(run, wrong):
    with pytest.raises(UsageError):
        write_user(run.path, **wrong)
    assert not (run.path / "user.json").exists()


def test_only_runs_can_be_edited(root):
    with pytest.raises(RunNotFound):
        write_user(root / "no-run", name="x")


def test_what_goes_to_the_trash_comes_back_whole(root, run, make_run):
    run.summary(rows=7)
    make_run("other").summary()
    move_to_trash(root, run.path.name)
    assert [info.run_id for info in Catalogue(root).refresh()] == ["other"]
    assert [(info.run_id, info.rows) for info in list_trash(root)] == [(run.path.name, 7)]
    restore(root, run.path.name)
    assert list_trash(root) == []
    assert read_info(run.path).rows == 7


def test_emptying_the_trash_deletes_what_was_named_or_all(root, make_run):
    for name in ("a", "b", "c", "kept"):
        make_run(name).summary()
    for name in ("a", "b", "c"):
        move_to_trash(root, name)
    assert empty_trash(root, ["b"]) == 1
    assert {info.run_id for info in list_trash(root)} == {"a", "c"}
    assert empty_trash(root) == 2
    assert list_trash(root) == []
    assert empty_trash(root) == 0
    assert [info.run_id for info in Catalogue(root).refresh()] == ["kept"]


@pytest.mark.parametrize("run_id", ["../logs", "..", ".", "", "/etc", "nothing", ".trash", "a/b", "x\0y"])
def test_a_text_that_names_no_run_of_the_root_moves_nothing(root, run, run_id):
    run.summary()
    for act in (move_to_trash, restore, lambda root, name: empty_trash(root, [name])):
        with pytest.raises(RunNotFound):
            act(root, run_id)
    assert len(Catalogue(root).refresh()) == 1


def test_a_linked_run_is_not_moved(root, make_run, tmp_path):
    real = make_run("real")
    real.path.rename(tmp_path / "real")
    (root / "real").symlink_to(tmp_path / "real")
    with pytest.raises(RunNotFound):
        move_to_trash(root, "real")


def test_a_trash_that_leads_elsewhere_is_not_used(root, run, tmp_path):
    (root / ".trash").symlink_to(tmp_path)
    for act in (lambda: move_to_trash(root, run.path.name), lambda: list_trash(root), lambda: empty_trash(root)):
        with pytest.raises(RootError, match="link"):
            act()
    assert run.path.exists()


def test_emptying_follows_no_link_out_of_the_trash(root, run, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (run.path / "scalars" / "away").symlink_to(tmp_path / "precious")
    move_to_trash(root, run.path.name)
    empty_trash(root)
    assert (tmp_path / "precious" / "file").exists()


def test_two_runs_of_one_id_never_overwrite_each_other(root, make_run):
    make_run("same").summary(rows=1)
    move_to_trash(root, "same")
    make_run("same").summary(rows=2)
    with pytest.raises(UsageError, match="already"):
        move_to_trash(root, "same")
    with pytest.raises(UsageError, match="already"):
        restore(root, "same")
    assert read_info(root / "same").rows == 2
    assert list_trash(root)[0].rows == 1
