"""The Model page below its title: which run, what its colours say, at which step; the graph, the tree, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import (
    linked,
    links,
    live,
    model_capture,
    model_compare,
    model_graph,
    model_opened,
    model_paint,
    model_panel,
    model_timing,
    model_tree,
    shell,
)
from explorer.app.distributions_steps import StepSlider
from explorer.app.layers_read import read_layers
from explorer.app.model_source import Architecture, architecture
from explorer.app.model_values import steps_of
from explorer.app.names import esc

if TYPE_CHECKING:
    from explorer.app.layers_data import LayerStatistics
    from explorer.reading.catalogue import RunInfo

TAB: Final = "part"  # key of the address
GRAPH: Final = "Graph"
TREE: Final = "Tree"
DIFFERENCES: Final = "Differences"
_PLAY_S: Final = 0.8
_LIVE_S: Final = 2.0


def pick_run(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> RunInfo:
    """Draw the choice among the selected runs and return the run; by default the newest whose model is captured."""
    by_id = {info.run_id: info for info in infos}
    first = next((info for info in infos if architecture(info).program is not None), infos[0])
    asked = linked.unknown(links.RUN, by_id)
    if asked is not None:
        st.warning(
            f"The run {esc(asked, 80)} of the link is not among the selected ones. {esc(labels[first.run_id], 80)} is "
            "shown. Select it in the sidebar.",
            icon=":material/link_off:",
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width=340):
            run_id = linked.select(
                "Run", links.RUN, list(by_id), first.run_id, format_func=lambda one: labels[one], hide_label=True
            )
        model_capture.details(architecture(by_id[run_id]))
    return by_id[run_id]


def view(info: RunInfo, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw everything about a run's model."""
    model = architecture(info)
    model_capture.about(info, model)
    if model.origin == "nothing":
        live.follow([info], lambda now: _look(now, model), "The look for a model")
        return
    names = [GRAPH, TREE, DIFFERENCES] if model.program is not None else [TREE, DIFFERENCES]
    for name, tab in zip(names, st.tabs(names, key=TAB, bind="query-params"), strict=True):
        if tab.open:
            with tab, shell.guard(name):
                if name == DIFFERENCES:
                    model_compare.compare(info, model, infos, labels)
                else:
                    _part(info, model, labels[info.run_id], name)


def _look(infos: Sequence[RunInfo], model: Architecture) -> None:
    """Draw the page again when more is known of the model: one is captured while its training goes on."""
    if any(architecture(info) is not model for info in infos):
        st.rerun()


def _part(info: RunInfo, model: Architecture, label: str, name: str) -> None:
    """The graph or the tree, drawn again by itself: while its steps are played, and while the run goes on."""
    slider = StepSlider("model")
    playing, running = slider.playing, info.state == "running"

    @st.fragment(run_every=_PLAY_S if playing else _LIVE_S if running else None)
    @shell.guarded(name)
    def part() -> None:
        if slider.playing != playing:
            st.rerun()  # with another interval
        _look([info], model)
        if model_timing.is_wanted(info):
            from explorer.app.model_measure import measure  # brings pandas, which the page can do without

            measure(info)
        statistics = read_layers(info, label).statistics
        times = model_timing.held(info)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            key, step = _choose(model, statistics, times, slider)
            if model.program is not None:
                model_timing.controls(info)
        painted = model_paint.painting(key, model, statistics, step, times)
        found = model_opened.picked(model)
        graph = model_graph.folded(model, found)
        if name == TREE:
            model_tree.tree(info, model, found, painted, times)
            model_panel.panel(info, model, graph, found, painted, times)
            return
        left, right = st.columns([13, 8], gap="small")
        with left:
            model_graph.graph_card(info, label, model, graph, found, painted)
        with right:
            model_panel.panel(info, model, graph, found, painted, times)

    part()


def _choose(
    model: Architecture, statistics: LayerStatistics, times: model_timing.Times | None, slider: StepSlider
) -> tuple[str, int | None]:
    """Draw what is painted and at which step."""
    offered = model_paint.options(statistics, times, bool(model.root.num_parameters))
    with st.container(width=270):
        key = linked.select(
            "Colour by", links.PAINT, offered, model_paint.first_choice(offered),
            help="Of several tensors in a module: norms, update ratios and shares of all together, of other "
            "statistics the one furthest from 0",
        )  # fmt: skip
    if key in (model_paint.NOTHING, model_paint.SIZE, model_paint.TIME):
        return key, None
    steps = steps_of(statistics, key)
    return key, slider.draw(steps) if len(steps) else None
