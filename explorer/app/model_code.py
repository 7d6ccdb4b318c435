"""The author's line of an operator, as far as the run has recorded its text; nothing outside the run is ever read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app.names import esc, plain
from explorer.reading.runs import open_run

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_MAX_CHARS: Final = 300


def source_line(info: RunInfo, source: str) -> None:
    """Draw the text of a line such as `model.py:55`; where the run has not recorded it, say what it has."""
    run = open_run(info)
    text = line_in_diff(run.git_diff, source)
    if text is not None:
        st.code(plain(text.strip(), _MAX_CHARS), language="python")
        st.caption("From the uncommitted changes that the run recorded.")
        return
    commit = run.git.get("commit") if run.git is not None else None
    if isinstance(commit, str) and commit:
        st.caption(f"The run recorded the commit {esc(commit[:12])} and not the text of this line.")
    else:
        st.caption("The run keeps the number of the line and not its text: the code itself is not recorded.")


def line_in_diff(diff: str, source: str) -> str | None:
    """Return a line after the changes of a diff; None where the diff does not show it, or not of one file alone.

    Args:
        diff: as `git diff` writes it.
        source: name of the file without its folder, a colon, and the number of the line from 1.
    """
    name, _, text = source.rpartition(":")
    if not (name and text.isascii() and text.isdigit()):
        return None
    wanted, found = int(text), {}
    path, number = "", 0
    for line in diff.split("\n"):
        if line.startswith("diff --git "):
            path, number = "", 0
        elif not number and line.startswith("+++ "):
            path = line[4:].partition("\t")[0]
        elif hunk := _HUNK.match(line):
            number = int(hunk[1])
        elif number and line[:1] in ("+", " "):
            if number == wanted and path.rpartition("/")[2] == name:
                found[path] = line[1:]
            number += 1
    return next(iter(found.values())) if len(found) == 1 else None
