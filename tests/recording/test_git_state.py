import os
import subprocess
import time

import pytest

from explorer.recording.git_state import MAX_DIFF_BYTES, describe_git


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    run = subprocess.run(["git", *identity, "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return run.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "train.py").write_text("lr = 0.1\n")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "start")
    return tmp_path


def test_a_clean_repository_is_told_by_commit_and_branch(repository):
    state, diff = describe_git(repository)
    assert state == {"commit": git(repository, "rev-parse", "HEAD"), "branch": "trunk", "dirty": False, "remote": None}
    assert diff == ""


def test_uncommitted_changes_are_kept_as_a_diff_that_git_can_apply(repository):
    (repository / "train.py").write_text("lr = 0.01\n")
    state, diff = describe_git(repository)
    assert state["dirty"] is True
    git(repository, "checkout", "train.py")
    subprocess.run(["git", "-C", repository, "apply"], input=diff, text=True, check=True)
    assert (repository / "train.py").read_text() == "lr = 0.01\n"


def test_the_password_in_the_address_of_the_remote_is_not_recorded(repository):
    git(repository, "remote", "add", "origin", "https://me:pa55@example.org/team/code.git")
    assert describe_git(repository)[0]["remote"] == "https://example.org/team/code.git"


def test_a_secret_in_the_changes_is_not_recorded(repository):
    (repository / "train.py").write_text('api_key = "d41d8cd98f00"\n')
    assert "d41d8cd98f00" not in describe_git(repository)[1]


def test_a_huge_diff_is_cut_and_says_so(repository):
    (repository / "train.py").write_text("x = 1\n" * 400_000)
    state, diff = describe_git(repository)
    assert state["dirty"] is True
    assert MAX_DIFF_BYTES < len(diff) < MAX_DIFF_BYTES + 100
    assert diff.endswith("[cut here: the diff is larger than 1,000,000 bytes]\n")


def test_a_detached_head_has_no_branch(repository):
    git(repository, "checkout", "-q", "--detach")
    assert describe_git(repository)[0]["branch"] is None


def test_a_subfolder_belongs_to_its_repository(repository):
    (repository / "sub").mkdir()
    assert describe_git(repository / "sub")[0]["branch"] == "trunk"


@pytest.mark.parametrize("prepare", [lambda folder: None, lambda folder: git(folder, "init", "-q")])
def test_without_a_repository_or_a_commit_there_is_no_state(tmp_path, prepare):
    prepare(tmp_path)
    assert describe_git(tmp_path) == (None, "")


def test_a_missing_folder_has_no_state(tmp_path):
    assert describe_git(tmp_path / "gone") == (None, "")


def test_without_git_there_is_no_state(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    assert describe_git(repository) == (None, "")


def test_a_git_that_hangs_is_given_up(repository, tmp_path_factory, monkeypatch):
    programs = tmp_path_factory.mktemp("bin")
    (programs / "git").write_text("#!/bin/sh\nsleep 30 & wait\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    started = time.monotonic()
    assert describe_git(repository, timeout_s=0.3) == (None, "")
    assert time.monotonic() - started < 10


def test_the_users_index_is_never_locked_or_rewritten(repository):
    index = repository / ".git" / "index"
    os.utime(repository / "train.py", (1, 1))  # git would refresh its index now
    before = index.stat().st_mtime_ns
    assert describe_git(repository)[0]["dirty"] is False
    assert index.stat().st_mtime_ns == before
