"""The overview of the Layers page: the table of layers, and the picked ones as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import layers_table, linked, links, state
from explorer.app.layers_curves import MAX_RUNS, draw_statistic
from explorer.app.layers_data import STATISTICS, LayerStatistics
from explorer.app.layers_modes import say_modes
from explorer.app.layers_read import Layers, read_layers
from explorer.app.names import count_text, esc
from explorer.app.tensor_kinds import LINES, ONE

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

SHOWN: Final = "stats"  # keys of the address
TOGETHER: Final = "together"
MAX_STATISTICS: Final = 8
_MAX_SKIPPED: Final = 40
_DEFAULT: Final = ("update_ratio", "norm", "grad_norm", "drift", "act_norm", "act_std")
NOT_RECORDED: Final = (
    "The layers of this run are not recorded. Call `rec.watch(model, optimizer)` once before the training loop: it "
    "samples parameters, gradients, updates and activations now and then, without slowing the training down."
)


def overview(run_id: str, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw the table of the run, and the picked layers of all selected runs that have recorded theirs."""
    info = next((one for one in infos if one.run_id == run_id), None)
    if info is None:
        st.info("This run is gone. Choose another one above.", icon=":material/link_off:")
        return
    layers = read_layers(info, labels[run_id])
    say_problems(layers)
    if not layers.rows and layers.problems:  # it was recorded
        return
    if not layers.rows:
        st.info(NOT_RECORDED, title="Nothing recorded of the layers", icon=":material/visibility_off:")
        st.code(LINES, language="python")
        say_skipped(layers)
        return
    say_skipped(layers)
    say_modes(layers.modes)
    picked = layers_table.choose(layers)
    if not picked:
        st.info("Tick layers in the table to draw them.", icon=":material/check_box:")
        return
    runs = _runs(layers, infos, labels)
    keys = _statistics(picked, [data for _, _, data in runs], len(infos))
    if not keys:
        return
    with st.grid(2, gap="small"):
        for key in keys:
            draw_statistic(picked, key, runs)
    if layers.initial and not {"drift", "cosine_init"}.isdisjoint(keys):
        st.caption(f"The first value, as the newest attempt of this run knows it: {esc(layers.initial, 200)}.")


def say_problems(layers: Layers) -> None:
    """Say which files of the run's statistics cannot be used."""
    if layers.problems:
        named = "\n".join(f"- {esc(problem, 300)}" for problem in layers.problems[:5])
        more = len(layers.problems) - 5
        st.warning(
            named + (f"\n- and {more} more" if more > 0 else ""),
            title="Statistics of layers are missing",
            icon=":material/broken_image:",
        )


def say_skipped(layers: Layers) -> None:
    """Say what the recorder did not watch, and why."""
    if not layers.skipped:
        return
    lines = [
        f"- {esc(name, 80)} ({esc(ONE.get(kind, kind), 40)}): {esc(reason, 200)}"
        for name, kind, reason in layers.skipped[:_MAX_SKIPPED]
    ]
    more = len(layers.skipped) - len(lines)
    title = f"Not recorded, and why ({len(layers.skipped):,})"
    with st.expander(title, key="layers_skipped", icon=":material/visibility_off:", type="compact"):
        st.markdown("\n".join([*lines, *([f"- and {more:,} more"] if more > 0 else [])]))


def _runs(
    layers: Layers, infos: Sequence[RunInfo], labels: Mapping[str, str]
) -> list[tuple[RunInfo, str, LayerStatistics]]:
    """The run of the table first, then others that have recorded their layers, at most four in all."""
    runs = [(layers.info, labels[layers.info.run_id], layers.statistics)]
    others = [info for info in infos if info.run_id != layers.info.run_id]
    for info in others if state.get(TOGETHER) == "true" else []:
        found = read_layers(info, labels[info.run_id])
        if found.rows:
            runs.append((info, labels[info.run_id], found.statistics))
    if len(runs) > MAX_RUNS:
        st.caption(f"The first {MAX_RUNS} of {count_text(len(runs), 'run')} are drawn; select fewer in the sidebar.")
    return runs[:MAX_RUNS]


def _statistics(picked: Sequence[str], data: Sequence[LayerStatistics], num_runs: int) -> list[str]:
    """Draw the choice of what is recorded of the picked layers, and the switch for other runs; return the choice."""
    recorded = [key for key in STATISTICS if any(one.series(name, key) is not None for one in data for name in picked)]
    text = state.get(SHOWN)
    chosen = [key for key in (links.split(text) if text else _DEFAULT) if key in recorded][:MAX_STATISTICS]
    st.session_state[_WIDGET] = chosen
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.multiselect(
            "Statistics", recorded, key=_WIDGET, format_func=lambda key: STATISTICS[key].title, on_change=_chosen,
            max_selections=MAX_STATISTICS, placeholder="Choose what is drawn",
        )  # fmt: skip
        if num_runs > 1:
            linked.toggle("Other runs too", TOGETHER, help="Draw the other selected runs too, with other line patterns")
    return chosen


_WIDGET: Final = "layers_statistics"


def _chosen() -> None:
    keys = st.session_state[_WIDGET]
    state.put(SHOWN, links.join(keys) or "none")
