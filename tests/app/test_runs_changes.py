"""What a user changes on the Runs page: names, tags, notes, archive, trash."""

from explorer.reading import edits
from tests.app.runs_page import again, link, names, select_rows, selected, table, texts


def test_tags_and_notes_and_name_are_kept_beside_the_run(open_app, make_run, root):
    run_id = make_run("old name", tags=["recorded"])
    recorded = (root / run_id / "run.json").read_bytes()
    app = select_rows(open_app(), 0)
    app.button(key="runs_edit").click().run()
    app.text_input(key="runs_edit_name").set_value("new name")
    app.text_area(key="runs_edit_notes").set_value("what I saw")
    app.multiselect(key="runs_edit_tags").set_value(["recorded"])
    app.button(key="runs_save").click().run()
    assert names(again(app, root)) == ["new name"]
    assert list(table(app)["notes"]) == ["what I saw"]
    assert (root / run_id / "run.json").read_bytes() == recorded


def test_tags_of_several_runs_are_changed_without_losing_their_own(open_app, make_run, root):
    make_run("a", tags=["own", "both"])
    make_run("b", tags=["both"])
    app = select_rows(open_app(), 0, 1)
    app.button(key="runs_edit").click().run()
    assert app.multiselect(key="runs_edit_tags").value == ["both"]
    app.multiselect(key="runs_edit_tags").set_value([])
    app.button(key="runs_save").click().run()
    assert [list(tags) for tags in table(again(app, root))["tags"]] == [[], ["own"]]


def test_a_deleted_run_comes_back_with_undo(open_app, make_run, root):
    make_run("keep")
    gone = make_run("gone")
    app = select_rows(open_app(), 0)
    app.button(key="runs_delete").click().run()
    assert names(app) == ["keep"]
    assert "Moved gone to the trash" in texts(app)
    assert "not here" not in texts(app)
    app.button(key="runs_undo").click().run()
    assert names(app) == ["gone", "keep"]
    assert selected(app) == [0]
    assert (root / gone / "run.json").is_file()


def test_the_trash_gives_runs_back_and_deletes_for_good_only_when_told(open_app, make_run, root):
    first, second = make_run("first"), make_run("second")
    make_run("third")
    edits.move_to_trash(root, first)
    edits.move_to_trash(root, second)
    app = open_app()
    app.button(key="runs_open_trash").click().run()
    app.button(key=f"restore_{first}").click().run()
    assert (root / first).is_dir()
    assert app.button(key="runs_empty").disabled
    app.checkbox(key="runs_empty_sure").check().run()
    app.button(key="runs_empty").click().run()
    assert edits.list_trash(root) == []
    assert names(again(app, root)) == ["third", "first"]


def test_a_run_that_is_still_running_is_not_deleted(open_app, make_run):
    make_run("busy", state="running")
    app = select_rows(open_app(), 0)
    app.button(key="runs_delete").click().run()
    assert "still running" in texts(app)
    assert names(app) == ["busy"]


def test_archived_runs_are_out_of_the_list_until_asked_for(open_app, make_run, root):
    make_run("old")
    make_run("new")
    app = select_rows(open_app(), 1)
    app.button(key="runs_archive").click().run()
    assert names(app) == ["new"]
    app.toggle(key="runs_archived").set_value(True).run()
    assert names(app) == ["new", "old"]
    assert list(table(app)["state"][1]) == ["finished", "archived"]
    app.button(key="runs_undo").click().run()
    assert list(table(app)["state"][1]) == ["finished"]


def test_nothing_can_be_changed_before_somebody_selected_runs(open_app, make_run):
    make_run()
    app = open_app()
    assert "pages show the newest run" in texts(app)
    assert [app.button(key=key).disabled for key in ("runs_edit", "runs_archive", "runs_delete")] == [True] * 3
    select_rows(app, 0)
    assert [app.button(key=key).disabled for key in ("runs_edit", "runs_archive", "runs_delete")] == [False] * 3
    select_rows(app)
    assert link(app, "runs") is None


def test_only_selected_runs_in_the_table_are_deleted(open_app, make_run, root):
    make_run("hidden")
    make_run("shown")
    app = select_rows(open_app(), 0, 1)
    app.text_input(key="runs_find").set_value("shown").run()
    assert app.button(key="runs_delete").label == "Delete 1"
    app.button(key="runs_delete").click().run()
    assert sorted(path.name for path in root.iterdir() if path.name != ".trash") == ["run-0000"]


def test_a_click_on_a_name_opens_that_run(open_app, make_run):
    make_run("first")
    make_run("second")
    app = open_app()
    app.session_state["runs_open"] = {"row": 1, "label": "first"}
    app.run()
    assert not app.exception
    assert link(app, "run") == "run-0000"
