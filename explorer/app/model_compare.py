"""Whether the selected runs have the same architecture, and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import streamlit as st

from explorer.app import linked, links
from explorer.app.distributions_data import kept
from explorer.app.model_shapes import shape_text
from explorer.app.model_source import Architecture, ModuleRow, architecture
from explorer.app.names import esc, plain
from explorer.app.table_heights import table_height
from explorer.charts import arrow

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

MAX_ROWS: Final = 500
_MAX_RUNS: Final = 16


class Difference(NamedTuple):
    """A module that two models do not have alike: `added`, `removed` or `changed`, and what it is in each."""

    kind: str
    path: str
    before: str
    after: str


def differences(one: Architecture, other: Architecture) -> list[Difference]:
    """Return what differs between two models, in the order of the first, then of the second."""

    def make() -> tuple[Difference, ...]:
        both = one.program is not None and other.program is not None
        texts = [{path: _told(row, model, both) for path, row in model.rows.items()} for model in (one, other)]
        before, after = texts
        found = []
        for path, text in before.items():
            if path not in after:
                found.append(Difference("removed", path, text, ""))
            elif text != after[path]:
                found.append(Difference("changed", path, text, after[path]))
        return (*found, *(Difference("added", path, "", text) for path, text in after.items() if path not in before))

    return list(kept(("model differences", one, other), make))


def _told(row: ModuleRow, model: Architecture, with_outputs: bool) -> str:
    """What a module is, apart from its numbers: class, own tensors, and its output where both models have one."""
    own = [f"{weight.name.rpartition('.')[2]} {shape_text(weight.shape, {})}" for weight in row.weights]
    shapes = [shape_text(shape, model.sizes) for shape in row.shapes] if with_outputs else []
    calls = [f"{row.num_calls} calls"] if with_outputs and (row.num_calls or 0) > 1 else []
    parts = [row.type or ("container" if row.children else ""), *own, *calls]
    return ", ".join(part for part in parts if part) + (f" → {', '.join(shapes)}" if shapes else "")


def compare(info: RunInfo, model: Architecture, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw which of the selected runs differ from the one that is shown, and the differences from one of them."""
    others = [one for one in infos if one.run_id != info.run_id][:_MAX_RUNS]
    if not others:
        st.info(
            "Select two or more runs in the sidebar, or in the table of the page Runs, to see where their "
            "architectures differ.",
            icon=":material/compare_arrows:",
        )
        return
    found = {one.run_id: architecture(one) for one in others}
    told = {run_id: differences(model, other) for run_id, other in found.items() if other.origin != "nothing"}
    unknown = [labels[one.run_id] for one in others if one.run_id not in told]
    same = [labels[run_id] for run_id, differs in told.items() if not differs]
    if same:
        named = ", ".join(esc(label, 60) for label in same[:6]) + (
            f" and {len(same) - 6} more" if len(same) > 6 else ""
        )
        st.markdown(f":material/check: The same architecture as {esc(labels[info.run_id], 60)}: {named}.")
    if unknown:
        named = ", ".join(esc(label, 60) for label in unknown[:6])
        st.caption(f"Nothing is recorded of the model of {named}.")
    differing = {run_id: differs for run_id, differs in told.items() if differs}
    if not differing:
        return
    titles = {run_id: f"{labels[run_id]} ({len(differs):,} modules differ)" for run_id, differs in differing.items()}
    with st.container(width=420):
        chosen = linked.select("Compared with", links.OTHER_RUN, titles, next(iter(titles)))
    _table(differing[chosen], labels[info.run_id], labels[chosen])


def _table(found: Sequence[Difference], label: str, other: str) -> None:
    shown = found[:MAX_ROWS]
    st.dataframe(
        arrow.table(
            {
                "what": arrow.texts([one.kind for one in shown]),
                "module": arrow.texts([plain(one.path, 120) or "the model" for one in shown]),
                "before": arrow.texts([plain(one.before, 300) for one in shown]),
                "after": arrow.texts([plain(one.after, 300) for one in shown]),
            }
        ),
        key="model_differences",
        hide_index=True,
        height=table_height(len(shown)),
        column_config={
            "what": st.column_config.TextColumn("", width=80),
            "module": st.column_config.TextColumn("module", width=200),
            "before": st.column_config.TextColumn(plain(label, 60), width=360),
            "after": st.column_config.TextColumn(plain(other, 60), width=360),
        },
        alt="Modules that the two models do not have alike",
    )
    counts = {kind: sum(one.kind == kind for one in found) for kind in ("removed", "changed", "added")}
    words = ", ".join(f"{num:,} {kind}" for kind, num in counts.items() if num)
    more = f" The first {MAX_ROWS} are shown." if len(found) > MAX_ROWS else ""
    st.caption(
        f"From {esc(label, 60)} to {esc(other, 60)}: {words}. Compared are classes, own tensors, calls and shapes of "
        f"outputs, by the path of the module.{more}"
    )
