"""The table of the Weights page: the tensors of two snapshots, ranked by how far they moved; a click opens one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.app import linked, links, state
from explorer.app.csv_text import csv_bytes
from explorer.app.export_menu import Export, export_menu
from explorer.app.names import count_text, esc, matching, name_list, unique_labels
from explorer.app.snapshot_choices import NO_TENSORS
from explorer.app.weights_diff import Diff, Moved
from explorer.charts import arrow

if TYPE_CHECKING:
    from explorer.app.weights_choices import Chosen

MAX_ROWS: Final = 1_000
_TABLE: Final = "weights_table"
_LEFT_OUT: Final = "snapshots leave out "  # how the recorder begins to say it
_DRAWN: Final = "weights_drawn"
_NUMBERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "relative change": ("relative_change", "%.4f", "Norm of the difference over the norm before"),
    "cosine": ("cosine", "%.5f", "Between before and after: 1 not turned, 0 at right angles"),
    "sign flips": ("sign_flips", "%.4f", "Share of elements with the other sign"),
    "max change": ("max_change", "%.4g", "Largest absolute change of an element"),
    "norm before": ("norm_before", "%.4g", "L2 norm"),
    "norm after": ("norm_after", "%.4g", "L2 norm"),
}


def draw(diff: Diff, before: Chosen, after: Chosen) -> tuple[str, str] | None:
    """Draw the table and what is not in it; return the names (before and after) of the tensor that is opened."""
    _notes(diff, before, after)
    if not diff.moved:
        empty = not (before.snapshot.entries and after.snapshot.entries)
        none = "The two snapshots have no tensor of one name and shape in common."
        st.info(NO_TENSORS if empty else none, icon=":material/link_off:")
        return None
    _take_click()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=300):
            text = linked.search("Filter", links.SEARCH, "part of a name")
        rows = ranked(diff, text)
        export_menu(
            Export(
                name="weights_diff",
                stem=f"{before.title} {after.title}",
                table=lambda: write_csv(rows, before, after),
                about_table="The table, with every digit",
                code=lambda: code_lines(before, after),
            )
        )
    if not rows:
        st.info("No tensor matches the filter.", icon=":material/search_off:")
        return None
    names = [name for name, _, _ in rows[:MAX_ROWS]]
    known = {name: counterpart for name, counterpart, _ in diff.moved}
    asked = linked.unknown(links.TENSOR, known)
    if asked is not None:
        st.warning(f"These snapshots have no tensor {esc(asked, 80)} in common.", icon=":material/link_off:")
    chosen = state.get(links.TENSOR)
    opened = chosen if chosen in known else names[0]
    _draw_table(rows[:MAX_ROWS], names, opened)
    unmoved = sum(moved.relative_change == 0 for _, _, moved in rows)
    parts = [f"{len(rows):,} of {count_text(len(diff.moved), 'tensor')}, the largest relative change first"]
    parts += [f"{unmoved:,} did not change at all"] if unmoved else []
    parts += [f"the first {MAX_ROWS:,} are shown"] if len(rows) > MAX_ROWS else []
    st.caption(" · ".join([*parts, "click a row to open the tensor below"]))
    return opened, known[opened]


def ranked(diff: Diff, text: str) -> list[tuple[str, str, Moved]]:
    """Return the tensors whose name holds every word of `text`, largest relative change first; unknown ones on top."""
    names = set(matching([name for name, _, _ in diff.moved], text))

    def key(row: tuple[str, str, Moved]) -> tuple[bool, float]:
        change = row[2].relative_change
        return not math.isnan(change), -change if math.isfinite(change) else -math.inf

    return sorted((row for row in diff.moved if row[0] in names), key=key)


def _notes(diff: Diff, before: Chosen, after: Chosen) -> None:
    lines = []
    for side, names in ((before, diff.only_before), (after, diff.only_after)):
        if names:
            lines.append(f"- only in {esc(side.title, 80)}: {name_list(list(names))}")
    lines += [f"- {esc(reason, 200)}" for reason in diff.mismatched[:6]]
    lines += [f"- {esc(name, 80)}: {esc(reason, 200)}" for name, reason in diff.skipped[:6]]
    for side in (before,) if before.info.run_id == after.info.run_id else (before, after):
        lines += [f"- {esc(side.label, 60)}: {esc(text, 200)}" for text in left_out(side)]
    if diff.dtypes:
        lines.append(f"- another dtype, compared by value: {name_list(list(diff.dtypes))}")
    if lines:
        st.info("\n".join(lines), title="Not everything is compared", icon=":material/link_off:")


def left_out(side: Chosen, most: int = 4) -> list[str]:
    """Return what the recorder said of tensors that the snapshots of a run do not hold, and where the rest is told."""
    told = [text for text in side.info.warnings if text.startswith(_LEFT_OUT)]
    more = len(told) - most
    return told[:most] + ([f"and {more:,} more, see the tab Recorder of the page Run"] if more > 0 else [])


def _draw_table(rows: Sequence[tuple[str, str, Moved]], names: Sequence[str], opened: str) -> None:
    table = {"name": arrow.texts(unique_labels(names))}
    for title, (field, _, _) in _NUMBERS.items():
        table[title] = arrow.numbers([float(getattr(moved, field)) for _, _, moved in rows])
    row = names.index(opened) if opened in names else None
    rows_now = [] if row is None else [row]
    now: Any = (st.session_state.get(_TABLE) or {}).get("selection") or {}
    if sorted(now.get("rows", ())) != rows_now:
        st.session_state[_TABLE] = {"selection": {"rows": rows_now, "columns": [], "cells": []}}
    st.session_state[_DRAWN] = (list(names), rows_now)
    config: dict[str, Any] = {"name": st.column_config.TextColumn("tensor", pinned=True, width=260)}
    for title, (_, form, about) in _NUMBERS.items():
        config[title] = st.column_config.NumberColumn(title, format=form, help=about)
    st.dataframe(
        arrow.table(table), key=_TABLE, hide_index=True, height="content" if len(names) <= 10 else 420,
        placeholder="NaN", column_config=config, on_select="rerun", selection_mode="single-row",
        alt="Tensors of both snapshots, by relative change",
    )  # fmt: skip


def _take_click() -> None:
    """Take over the row that was clicked since the table was drawn."""
    drawn = st.session_state.get(_DRAWN)
    if drawn is None or _TABLE not in st.session_state:
        return
    names, before = drawn
    event: Any = (st.session_state[_TABLE] or {}).get("selection") or {}
    rows = sorted(event.get("rows", ()))
    if rows != before and rows and rows[0] < len(names):
        state.put(links.TENSOR, names[rows[0]])


def write_csv(rows: Sequence[tuple[str, str, Moved]], before: Chosen, after: Chosen) -> bytes:
    """Return the table as CSV, every digit."""
    fields = [field for field, _, _ in _NUMBERS.values()]
    return csv_bytes(
        ["tensor", "before", "after", *fields],
        (
            [name, before.title, after.title, *(float(getattr(moved, field)) for field in fields)]
            for name, _, moved in rows
        ),
    )


def code_lines(before: Chosen, after: Chosen) -> str:
    """Return Python that works out the same table."""
    return "\n".join(
        [
            "import numpy as np",
            "import pandas as pd",
            "from explorer import open_run",
            "",
            f"before = open_run({str(before.info.path)!r}).snapshot({before.snapshot.step})",
            f"after = open_run({str(after.info.path)!r}).snapshot({after.snapshot.step})",
            "rows = {}",
            "for name in before.entries.keys() & after.entries.keys():",
            "    a, b = (side.read(name).astype(float).ravel() for side in (before, after))",
            "    if a.shape == b.shape:",
            "        rows[name] = {",
            "            'relative_change': np.linalg.norm(b - a) / np.linalg.norm(a),",
            "            'cosine': a @ b / np.linalg.norm(a) / np.linalg.norm(b),",
            "            'max_change': np.abs(b - a).max(),",
            "        }",
            "print(pd.DataFrame(rows).T.sort_values('relative_change', ascending=False))",
        ]
    )
