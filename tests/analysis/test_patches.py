"""A git patch taken apart by file, with git itself as the reference."""

import subprocess
from pathlib import Path

import pytest

from explorer.analysis.comparison import settings_table
from explorer.analysis.patches import patch_settings, split_patch
from explorer.analysis.settings import NOT_SET


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "core.quotePath=false"]
    return subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("lr = 1\nsteps = 2\n-- not a patch line\n")
    (tmp_path / "with space.txt").write_text("one\n")
    (tmp_path / "gone.txt").write_text("one\ntwo\n")
    (tmp_path / "data.bin").write_bytes(bytes(range(256)))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "start")
    return tmp_path


def change_everything(folder: Path) -> None:
    (folder / "train.py").write_text("lr = 3\nsteps = 2\nepochs = 9\n")
    (folder / "with space.txt").write_text("two\n")
    (folder / "gone.txt").unlink()
    (folder / "data.bin").write_bytes(bytes(255))


def test_the_files_and_line_counts_of_a_patch_are_those_git_counts(repository: Path) -> None:
    change_everything(repository)
    parts = {part.file: part for part in split_patch(git(repository, "diff", "HEAD"))}
    for line in git(repository, "diff", "HEAD", "--numstat").splitlines():
        added, removed, file = line.split("\t")
        expected = (0, 0) if added == "-" else (int(added), int(removed))
        assert (parts[file].added, parts[file].removed) == expected
    assert len(parts) == 4


def test_the_parts_together_are_the_whole_patch(repository: Path) -> None:
    change_everything(repository)
    patch = git(repository, "diff", "HEAD")
    assert "\n".join(part.text for part in split_patch(patch)) == patch.rstrip("\n")


def test_a_renamed_file_goes_by_its_new_name(repository: Path) -> None:
    git(repository, "mv", "train.py", "fit.py")
    assert [part.file for part in split_patch(git(repository, "diff", "HEAD", "-M"))] == ["fit.py"]


@pytest.mark.parametrize("text", ["", "\n", "not a patch", "+++ b/x\n@@ -1 +1 @@\n+1"])
def test_text_that_is_no_patch_has_no_files(text: str) -> None:
    assert split_patch(text) == []


def test_a_patch_cut_off_in_the_middle_keeps_what_is_there(repository: Path) -> None:
    change_everything(repository)
    patch = git(repository, "diff", "HEAD")
    for end in range(0, len(patch), 7):
        assert len(split_patch(patch[:end])) <= 4


def test_runs_with_the_same_changes_do_not_differ(repository: Path) -> None:
    change_everything(repository)
    patch = git(repository, "diff", "HEAD")
    assert settings_table(patch_settings({"a": patch, "b": patch})).empty


def test_a_file_changed_in_one_run_only_is_a_difference(repository: Path) -> None:
    (repository / "train.py").write_text("lr = 3\nsteps = 2\n-- not a patch line\n")
    table = settings_table(patch_settings({"a": git(repository, "diff", "HEAD"), "b": None}))
    assert list(table.loc["train.py"]) == ["+1 -1", NOT_SET]


def test_as_many_lines_but_other_lines_are_told_apart(repository: Path) -> None:
    patches: dict[str, str | None] = {}
    for run, rate in (("a", 3), ("b", 4), ("c", 3)):
        (repository / "train.py").write_text(f"lr = {rate}\nsteps = 2\n-- not a patch line\n")
        patches[run] = git(repository, "diff", "HEAD")
    assert list(settings_table(patch_settings(patches)).loc["train.py"]) == ["+1 -1 (a)", "+1 -1 (b)", "+1 -1 (a)"]
