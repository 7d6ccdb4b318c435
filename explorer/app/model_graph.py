"""The graph of a model on the page: folded to modules, painted, and answering to clicks."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import model_drawing, model_export, model_opened
from explorer.app.distributions_data import kept
from explorer.app.model_opened import Picked
from explorer.app.model_paint import NOTHING, TIME, Painting
from explorer.app.names import esc, plain
from explorer.charts.graph import CLICK, OPEN
from explorer.inference.folding import MAX_BOXES, FoldedGraph, fold

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture
    from explorer.reading.catalogue import RunInfo

# Beyond this the picture scrolls in its box.
_MAX_HEIGHT: Final = 720
_HELP: Final = (
    "A click selects a box, a double click opens or closes it. Ctrl or ⌘ with the wheel zooms, dragging moves, a "
    "double click beside the boxes shows everything again."
)


def folded(model: Architecture, found: Picked) -> FoldedGraph:
    """Return the graph as it is opened; what is looked at shares no box with others."""
    program = model.program
    if program is None:
        return FoldedGraph((), (), ())
    opened = model_opened.opened(model)
    parts = None if opened is None else tuple(sorted(opened))
    return kept(("model folded", model, parts, found.path), lambda: fold(program, opened, kept=[found.path]))


def graph_card(
    info: RunInfo, label: str, model: Architecture, graph: FoldedGraph, found: Picked, painted: Painting
) -> None:
    """Draw the graph in its box, with what can be done to it."""
    dark = st.context.theme.type == "dark"
    drawn = model_drawing.picture(model, graph, painted)
    height = int(drawn.bounds.bottom)
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            title = f"Graph of {plain(model.root.type or 'the model', 60)}"
            # On the left: the chart's own toolbar appears on the right.
            st.markdown(f"**{esc(title, 80)}**", width="content", help=_HELP)
            _buttons(model, graph)
            model_export.graph_menu(info, f"{title}, {label}", caption(graph, painted), model, graph, drawn, painted)
        # Another picture is another chart: what it reported before is forgotten.
        shown = zlib.crc32(repr([box.id for box in graph.boxes]).encode("utf-8", "replace"))
        key = f"model_graph_{shown:08x}_{model_opened.chart_round()}"
        with st.container(height=_MAX_HEIGHT if height > _MAX_HEIGHT else "content", border=False):
            st.vega_lite_chart(
                {
                    **model_drawing.spec(drawn, painted, model_drawing.colours(graph, painted, dark), dark),
                    "datasets": model_drawing.datasets(model, graph, painted, dark, model_opened.box_of(graph, found)),
                },
                key=key,
                on_select=lambda: model_opened.clicked(key, CLICK, OPEN, graph),
                selection_mode=[CLICK, OPEN],
                alt="Graph of the model by module, told in numbers by the tab Tree",
            )
        st.caption(esc(caption(graph, painted), 1_200))


def caption(graph: FoldedGraph, painted: Painting) -> str:
    """Return what is drawn, as plain text."""
    parts = [f"{len(graph.boxes)} boxes, {len(graph.edges)} arrows"]
    groups = [box for box in graph.boxes if box.kind == "group"]
    if groups:
        num = sum(len(box.members) for box in groups)
        parts.append(
            f"{num} neighbours share {len(groups)} box{'es' if len(groups) > 1 else ''}, so that at most {MAX_BOXES} "
            "are drawn: select one to take a module out"
        )
    parts.append("▸ holds modules, rounded boxes are single operators")
    if painted.key != NOTHING:
        parts.append(
            "grey: no such value, as in modules without parameters" if painted.key != TIME else "grey: no time"
        )
        if painted.about:
            parts.append(painted.about.rstrip("."))
    return " · ".join(parts) + "."


def _buttons(model: Architecture, graph: FoldedGraph) -> None:
    closed = [box for box in graph.boxes for one in (box.members or (box,)) if model_opened.can_open(model, one)]
    for name, icon, help, call, args, disabled in (
        ("more", "unfold_more", "Open every module by one level", model_opened.open_level, (model, graph), not closed),
        ("less", "unfold_less", "Close the level opened deepest", model_opened.close_level, (graph,), not graph.opened),
        ("reset", "restart_alt", "Opened as at first", model_opened.as_at_first, (), False),
    ):
        st.button(
            "", key=f"model_{name}", icon=f":material/{icon}:", type="tertiary", help=help, disabled=disabled,
            on_click=call, args=args,
        )  # fmt: skip
