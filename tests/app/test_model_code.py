"""The line of an operator comes from the diff that the run recorded, from one file alone, or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from explorer.app.model_code import line_in_diff

BEFORE = "".join(f"line {number}\n" for number in range(1, 41))


@pytest.fixture
def diff(tmp_path: Path) -> str:
    """What git itself says of two changed files, of which one has a line more near its begin."""

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    (tmp_path / "net").mkdir()
    for name in ("model.py", "net/blocks.py", "net/same.py", "same.py"):
        (tmp_path / name).write_text(BEFORE)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    changed = BEFORE.replace("line 3\n", "line 3\nnew = here\n").replace("line 30\n", "++ changed\n")
    for name in ("model.py", "net/blocks.py", "net/same.py", "same.py"):
        (tmp_path / name).write_text(changed)
    return git("diff", "HEAD")


def test_a_line_of_the_diff_is_found_by_its_number_after_the_changes(diff: str) -> None:
    assert line_in_diff(diff, "model.py:4") == "new = here"
    assert line_in_diff(diff, "model.py:5") == "line 4"
    assert line_in_diff(diff, "blocks.py:31") == "++ changed"


@pytest.mark.parametrize("source", ["model.py:15", "other.py:4", "same.py:4", "model.py", ":4", "", "model.py:-4"])
def test_a_line_that_the_diff_does_not_show_is_not_guessed(diff: str, source: str) -> None:
    assert line_in_diff(diff, source) is None


def test_a_text_that_is_no_diff_holds_no_line() -> None:
    assert line_in_diff("+++ b/model.py\n+a\n", "model.py:1") is None
