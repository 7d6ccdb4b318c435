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
ROLE: Final = "role"  # key of the address
ROLES: Final[Mapping[str, str]] = {"param": "Parameters", "buffer": "Buffers", "optimizer": "Optimizer state"}
_NOUNS: Final[Mapping[str, str]] = {"param": "parameter", "buffer": "buffer", "optimizer": "tensor"}
_MAX_NOTES: Final = 6
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
    "not finite": ("num_left_out", "localized", "Elements that are NaN or infinite on a side, left out of the numbers"),
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
    chosen = state.get(links.TENSOR)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        role = _pick_role(diff, chosen)
        with st.container(width=300):
            text = linked.search("Filter", links.SEARCH, "part of a name")
        rows = ranked(diff, text, role)
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
    of_role = [name for name in known if diff.roles[name] == role]
    asked = linked.unknown(links.TENSOR, known)
    if asked is not None:
        st.warning(f"These snapshots have no tensor {esc(asked, 80)} in common.", icon=":material/link_off:")
    opened = chosen if chosen in of_role else names[0]
    _draw_table(rows[:MAX_ROWS], names, opened)
    unmoved = sum(moved.relative_change == 0 and not moved.num_left_out for _, _, moved in rows)
    whole = count_text(len(of_role), _NOUNS[role]) + (" of optimizer state" if role == "optimizer" else "")
    parts = [f"{len(rows):,} of {whole}, the largest relative change first"]
    parts += [f"{unmoved:,} did not change at all"] if unmoved else []
    parts += [f"the first {MAX_ROWS:,} are shown"] if len(rows) > MAX_ROWS else []
    st.caption(" · ".join([*parts, "click a row to open the tensor below"]))
    return opened, known[opened]


def _pick_role(diff: Diff, chosen: str | None) -> str:
    """Draw the choice between parameters, buffers and optimizer state; by default that of the tensor that is open.

    Apart from each other: running counts and second moments grow a thousandfold, and would stand above every layer.
    """
    there = set(diff.roles.values())
    roles = {role: title for role, title in ROLES.items() if role in there}
    default = diff.roles.get(chosen or "", next(iter(roles)))
    return linked.segments("Of", ROLE, roles, default) if len(roles) > 1 else default


def ranked(diff: Diff, text: str, role: str) -> list[tuple[str, str, Moved]]:
    """Return the tensors of a role whose name holds every word of `text`, largest relative change first.

    Those with NaN or infinite values on a side are on top; those without elements, of which nothing can be said, last.
    """
    names = set(matching([name for name, _, _ in diff.moved if diff.roles[name] == role], text))

    def key(row: tuple[str, str, Moved]) -> tuple[int, float]:
        change = row[2].relative_change
        if row[2].num_left_out:
            return 0, -row[2].num_left_out
        return (2, 0.0) if math.isnan(change) else (1, -change)

    return sorted((row for row in diff.moved if row[0] in names), key=key)


def _notes(diff: Diff, before: Chosen, after: Chosen) -> None:
    lines = []
    for side, names in ((before, diff.only_before), (after, diff.only_after)):
        if names:
            lines.append(f"- only in {esc(side.title, 80)}: {name_list(list(names))}")
    skipped = [f"{esc(name, 80)}: {esc(reason, 200)}" for name, reason in diff.skipped]
    for reasons in ([esc(reason, 200) for reason in diff.mismatched], skipped):
        lines += [f"- {reason}" for reason in reasons[:_MAX_NOTES]]
        lines += [f"- and {len(reasons) - _MAX_NOTES:,} more such"] if len(reasons) > _MAX_NOTES else []
    for side in (before,) if before.info.run_id == after.info.run_id else (before, after):
        lines += [f"- {esc(side.label, 60)}: {esc(text, 200)}" for text in left_out(side)]
    if lines:
        st.info("\n".join(lines), title="Not everything is compared", icon=":material/link_off:")
    if diff.dtypes:
        st.caption(f"Stored in another dtype, compared by value: {name_list(list(diff.dtypes))}.")
    if before.info.run_id == after.info.run_id and before.snapshot.step == after.snapshot.step:
        st.info("Both sides are the same snapshot: choose another step or run.", icon=":material/content_copy:")


def left_out(side: Chosen, most: int = 4) -> list[str]:
    """Return what the recorder said of tensors that the snapshots of a run do not hold, and where the rest is told."""
    told = [text for text in side.info.warnings if text.startswith(_LEFT_OUT)]
    more = len(told) - most
    return told[:most] + ([f"and {more:,} more, see the tab Recorder of the page Run"] if more > 0 else [])


def _draw_table(rows: Sequence[tuple[str, str, Moved]], names: Sequence[str], opened: str) -> None:
    table = {"name": arrow.texts(unique_labels(names))}
    for title, (field, _, _) in _NUMBERS.items():
        table[title] = arrow.numbers([_told(moved, field) for _, _, moved in rows])
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
        placeholder="–", column_config=config, on_select="rerun", selection_mode="single-row",
        alt="Tensors of both snapshots, by relative change",
    )  # fmt: skip


def _told(moved: Moved, field: str) -> float | None:
    """A number of the table; None for what is not defined, such as the angle of a tensor that is 0."""
    value = float(getattr(moved, field))
    return None if math.isnan(value) and not moved.num_left_out else value


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
