"""How the configs, the code and the environments of several runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from explorer.analysis.comparison import settings_table
from explorer.analysis.patches import patch_settings
from explorer.analysis.settings import NOT_SET
from explorer.app import linked
from explorer.app.compare_choices import ALL_SETTINGS
from explorer.app.drawn_once import drawn_once
from explorer.app.names import plain, unique_labels
from explorer.app.run_tables import MAX_ROWS
from explorer.app.table_heights import table_height
from explorer.reading.info import flatten
from explorer.reading.runs import Run, open_run

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_MAX_CHARS: Final = 300
_COMMIT_CHARS: Final = 12
# Differ between any two runs of one code and say nothing about it.
_NOISE: Final = ("executable", "user")


def config(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw the settings in which the runs differ; all of them on request."""
    # Beside the title: over its right end the toolbar of the table appears.
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.subheader("Config", anchor=False, width="content")
        show_all = linked.toggle("All settings", ALL_SETTINGS, help="Also those on which all runs agree")
    _config(infos, labels, show_all)


@drawn_once
def _config(infos: Sequence[RunInfo], labels: Mapping[str, str], show_all: bool) -> None:
    settings = {info.run_id: info.flat_config for info in infos}
    num_all = len({key for flat in settings.values() for key in flat})
    if not num_all:
        st.info(
            'None of these runs has a config. Give them one with `Recorder("name", config={"lr": 1e-3})`.',
            icon=":material/tune:",
        )
        return
    if len(infos) < 2 and not show_all:
        return
    differing = settings_table(settings)
    if differing.empty and not show_all:
        st.caption(f"No difference: {_counted(num_all)} the same in all {len(infos)} runs.")
        return
    table = settings_table(settings, only_differences=False) if show_all else differing
    draw(table, labels, bold=set(differing.index) if show_all else set())
    if len(infos) > 1:
        bold = " They are bold." if show_all and len(differing) else ""
        st.caption(f"{len(differing):,} of {num_all:,} settings differ.{bold}")


def _counted(num: int) -> str:
    return "the one setting is" if num == 1 else f"the {num:,} settings are"


@drawn_once
def code_and_environment(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw in what commit, uncommitted changes, command, packages and machine the runs differ."""
    if len(infos) < 2:
        return
    runs = [open_run(info) for info in infos]
    facts = {run.info.run_id: _facts(run) for run in runs}
    patches = patch_settings({run.info.run_id: run.git_diff for run in runs})
    changed = sorted({file for files in patches.values() for file in files})
    for run in runs:
        if run.git:
            files = patches[run.info.run_id]
            facts[run.info.run_id].update({f"changed: {file}": files.get(file, "unchanged") for file in changed})
    st.subheader("Code and environment", anchor=False)
    table = settings_table(facts)
    if table.empty:
        st.caption("No difference in commit, uncommitted changes, command, packages or machine.")
        return
    draw(table, labels)
    if any(patches.values()):
        st.caption(
            "`changed:` lines added and removed beyond the commit; letters mark versions of as many lines that are not "
            "the same. The page Run shows the lines."
        )


def _facts(run: Run) -> dict[str, object]:
    git: Mapping[str, Any] = run.git or {}
    facts: dict[str, object] = {f"git.{key}": git[key] for key in ("branch", "dirty", "remote") if key in git}
    if git.get("commit"):
        facts["git.commit"] = str(git["commit"])[:_COMMIT_CHARS]
    environment = flatten(run.environment)
    facts.update({key: value for key, value in environment.items() if key not in _NOISE})
    if run.argv:
        facts["command"] = " ".join(run.argv)
    return facts


def draw(table: pd.DataFrame, labels: Mapping[str, str], bold: set[str] | None = None) -> None:
    """Draw what `settings_table` returned, one column per run; cells that are not set are grey, rows of `bold` bold."""
    shown = table.iloc[:MAX_ROWS]
    weight = ["font-weight: bold" if key in (bold or ()) else "" for key in shown.index]
    frame = shown.map(lambda text: plain(text, _MAX_CHARS)).rename(columns=dict(labels))
    frame.index = pd.Index(unique_labels(shown.index), name="setting")
    style = frame.style.apply(lambda column: weight, axis=0)
    style = style.map(lambda text: "color: gray; font-style: italic" if text == NOT_SET else "")
    st.dataframe(style, height=table_height(len(frame)), alt="Settings of the compared runs")
