"""Which module is looked at and which are drawn opened: state of the address, and what changes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import streamlit as st

from explorer.app import links, state
from explorer.inference.folding import Box, FoldedGraph
from explorer.inference.modules import is_inside, outwards, parent_of

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture

_NONE: Final = "none"
_ROUND: Final = "model.round"
_SEEN: Final = "model.seen"  # session: what the chart reported last
FRAME: Final = "frame:"


class Picked(NamedTuple):
    """What is looked at: a module by its path, or an operator, input or output in it (`node`, "" for none)."""

    path: str
    node: str


def picked(model: Architecture) -> Picked:
    """Return what the address names, as far as it is there; else the model itself."""
    path, node = state.get(links.MODULE) or "", state.get(links.NODE) or ""
    if path not in model.rows:
        return Picked("", "")
    return Picked(path, node if node in _nodes(model) else "")


def pick(path: str, node: str = "") -> None:
    """Look at a module, or at an operator in it. The chart forgets its click, so that the same one counts again."""
    state.put(links.MODULE, path or None)
    state.put(links.NODE, node or None)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


def chart_round() -> int:
    """A number that changes when something else than the chart has changed what is looked at."""
    return int(st.session_state.get(_ROUND, 0))


def opened(model: Architecture) -> frozenset[str] | None:
    """Return the paths of the address that are modules; None when nobody opened or closed one."""
    text = state.get(links.OPENED)
    if text is None:
        return None
    return frozenset(path for path in links.split(text) if path in model.rows)


def set_opened(paths: Collection[str]) -> None:
    """Draw these modules opened."""
    state.put(links.OPENED, links.join(sorted(paths)) or _NONE)


def as_at_first() -> None:
    """Forget which modules were opened and closed."""
    state.put(links.OPENED, None)


def toggle(path: str, now: Sequence[str]) -> None:
    """Open a closed module with those around it, or close an opened one with all in it.

    Args:
        path: of the module.
        now: those that are drawn opened.
    """
    if path in now:
        set_opened([one for one in now if not is_inside(one, path)])
    else:
        set_opened({*now, *outwards(path)})


def open_level(model: Architecture, graph: FoldedGraph) -> None:
    """Open every closed module that holds others."""
    set_opened([*graph.opened, *(box.path for box in _boxes(graph) if can_open(model, box))])


def close_level(graph: FoldedGraph) -> None:
    """Close the modules that are opened deepest."""
    deepest = max((path.count(".") for path in graph.opened), default=0)
    set_opened([path for path in graph.opened if path.count(".") < deepest])


def can_open(model: Architecture, box: Box) -> bool:
    """Whether a box is a module that holds other modules."""
    row = model.rows.get(box.path)
    return box.kind == "module" and row is not None and any(model.rows[one].num_nodes for one in row.children)


def clicked(key: str, click: str, double: str, graph: FoldedGraph) -> None:
    """Take over what the chart of `key` reports: a click looks at a box, a double click opens or closes it as well.

    Args:
        key: of the chart.
        click: name of the selection of a click.
        double: of a double click.
        graph: that is drawn.
    """
    report: Mapping[str, Any] = (st.session_state.get(key) or {}).get("selection") or {}
    before: Mapping[str, str] = st.session_state.get(_SEEN, {}).get(key, {})
    now = {name: _said(report.get(name)) for name in (click, double)}
    st.session_state[_SEEN] = {key: now}
    for name in (click, double):
        said = now[name]
        if not said or said == before.get(name, ""):
            continue
        box = next((box for box in graph.boxes if box.id == said), None)
        path = said.removeprefix(FRAME)
        if box is not None:
            found = place_of(box)
            path = box.path if box.kind == "module" else ""
        elif said.startswith(FRAME) and path in graph.opened:
            found = Picked(path, "")
        else:
            continue
        state.put(links.MODULE, found.path or None)
        state.put(links.NODE, found.node or None)
        if name == double and path:
            toggle(path, graph.opened)


def _said(points: object) -> str:
    """The key of the box that a selection holds; what comes from a browser may be anything."""
    first = points[0] if isinstance(points, list) and points else None
    return str(first.get("key", "")) if isinstance(first, Mapping) else ""


def place_of(box: Box) -> Picked:
    """What is looked at when a box is clicked."""
    if box.kind in ("input", "output", "group"):
        return Picked(box.parent, box.id)
    return Picked(box.path, box.nodes[0] if box.kind == "operator" else "")


def box_of(graph: FoldedGraph, found: Picked) -> str:
    """Key of the box or frame in which what is looked at is drawn; "" for the model itself."""
    by_id = {box.id: box for box in graph.boxes}
    if found.node in by_id:
        return found.node
    for box in graph.boxes:
        if found.node and found.node in box.nodes:
            return box.id
    if not found.path:
        return ""
    if found.path in graph.opened:
        return FRAME + found.path
    outer = found.path
    while outer:
        for box in graph.boxes:
            if outer in {box.path, *(member.path for member in box.members)} and box.kind in ("module", "group"):
                return box.id
        outer = parent_of(outer)
    return ""


def _boxes(graph: FoldedGraph) -> list[Box]:
    return [one for box in graph.boxes for one in (box.members or (box,))]


def _nodes(model: Architecture) -> Collection[str]:
    """Names that an address may hold: operators, and the boxes of inputs, outputs and groups."""
    if model.program is None:
        return ()
    program = model.program
    names = {node.name for node in program.graph.nodes}
    names |= {f"input:{found.path}" for found in program.inputs} | {f"output:{path}" for path in program.output_paths}
    node = state.get(links.NODE) or ""
    return names | ({node} if node.startswith("group:") else set())
