"""Layers against each other: within a step, between two steps, and between two runs on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import linked, links
from explorer.app.layers_code import Side, depth_lines, grid_lines
from explorer.app.layers_data import STATISTICS
from explorer.app.layers_flow import at_step, depth_card, pick_step
from explorer.app.layers_grid import Grid, draw_grid, grid_ends, statistic_grid
from explorer.app.layers_mapping import align_runs, mapping_editor, say_unmatched
from explorer.app.layers_read import read_layers
from explorer.app.names import count_text, esc, plain, unique_labels
from explorer.app.run_tables import number_column
from explorer.app.run_text import value_text
from explorer.app.table_heights import table_height

if TYPE_CHECKING:
    from explorer.app.layers_read import Layers
    from explorer.reading.catalogue import RunInfo

Floats = npt.NDArray[np.float64]

MODE: Final = "mode"  # keys of the address
STATISTIC: Final = "stat"
FROM: Final = "from"  # the step that the one of links.STEP is compared with
_MODES: Final = {"step": "Within a step", "steps": "Two steps", "runs": "Two runs"}
_MAX_ROWS: Final = 300


def compare(run_id: str, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw the comparison that the user asks for; `run_id` is one of `infos`, the others are those to compare with."""
    layers = read_layers(next(info for info in infos if info.run_id == run_id), labels[run_id])
    recorded = layers.statistics.recorded()
    if not recorded:
        st.info("Nothing is recorded to compare: call `rec.watch(model, optimizer)`.", icon=":material/visibility_off:")
        return
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        mode = linked.segments("Compare", MODE, list(_MODES), "step", format_func=_MODES.__getitem__)
        with st.container(width=330):
            default = "norm" if "norm" in recorded else recorded[0]
            key = linked.select(
                "Statistic", STATISTIC, recorded, default, format_func=lambda one: STATISTICS[one].title
            )
    names = [layer.name for layer in layers.rows]
    grid = statistic_grid(layers.statistics, names, key)
    if mode == "runs":
        _runs(layers, grid, key, infos, labels)
    elif mode == "steps":
        _steps(layers, grid, key)
    else:
        step = pick_step("Step", links.STEP, grid.steps.tolist())
        title = f"{STATISTICS[key].title}, step {step:,}"
        series = [("value", grid.names, at_step(grid, step))]
        _depth(title, layers, key, series, [Side("value", str(layers.info.path), step, grid.names)])


def _depth(
    title: str, layers: Layers, key: str, series: Sequence[tuple[str, Sequence[str], Floats]], sides: Sequence[Side]
) -> None:
    what = STATISTICS[key]
    chart = f"layers_depth_{layers.info.run_id}_{key}_{len(series)}"
    depth_card(title, chart, series, what.title, log=what.log, of=layers.label, code=depth_lines(key, sides))


def _steps(layers: Layers, grid: Grid, key: str) -> None:
    steps = grid.steps.tolist()
    left, right = st.columns(2)
    with left:
        first = pick_step("From step", FROM, steps, default=steps[0])
    with right:
        second = pick_step("To step", links.STEP, steps)
    before, after = at_step(grid, first), at_step(grid, second)
    what = STATISTICS[key]
    series = [("from step", grid.names, before), ("to step", grid.names, after)]
    if first == second:
        st.info("Both sides are the same step. Choose two.", icon=":material/compare_arrows:")
    chart, table = st.columns([3, 2])
    with chart:
        path = str(layers.info.path)
        sides = [Side(f"step {step:,}", path, step, grid.names) for step in dict.fromkeys((first, second))]
        _depth(f"{what.title}: from step {first:,} to {second:,}", layers, key, series, sides)
    with table:
        change_table(grid.names, before, after, (f"step {first:,}", f"step {second:,}"))


def change_table(names: Sequence[str], before: Floats, after: Floats, titles: tuple[str, str]) -> None:
    """Draw the values of two sides, the largest factor between them first."""
    import pandas as pd

    order = sort_by_change(before, after)[:_MAX_ROWS]
    first, second = before[order].tolist(), after[order].tolist()
    frame = pd.DataFrame(
        {
            "layer": unique_labels(names[place] for place in order),
            titles[0]: number_column(None if np.isnan(value) else value for value in first),
            titles[1]: number_column(None if np.isnan(value) else value for value in second),
            "factor": [_factor(a, b) for a, b in zip(first, second, strict=True)],
        }
    )
    config: dict[str, Any] = {
        "layer": st.column_config.TextColumn("layer", pinned=True),
        titles[0]: st.column_config.NumberColumn(titles[0], format="%.4g"),
        titles[1]: st.column_config.NumberColumn(titles[1], format="%.4g"),
        "factor": st.column_config.TextColumn("factor", help="The second over the first", alignment="right"),
    }
    st.dataframe(frame, hide_index=True, height=table_height(len(frame)), column_config=config, alt="Layers by change")
    st.caption(f"{count_text(len(names), 'layer')}, the largest factor first, whether up or down")


def sort_by_change(before: Floats, after: Floats) -> list[int]:
    """Return the places of the layers, largest factor between both sides first; those without one last.

    >>> sort_by_change(np.array([1.0, 1.0, np.nan]), np.array([1.1, 0.1, 1.0]))
    [1, 0, 2]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(np.log(np.abs(after / before)))
    size = np.where(np.isnan(size), -1.0, size)
    return [int(place) for place in np.argsort(-size, kind="stable")]


def _factor(before: float, after: float) -> str:
    if np.isnan(before) or np.isnan(after):
        return ""
    return value_text(after / before, digits=4) if before else "from 0" if after else "1"


def _runs(layers: Layers, grid: Grid, key: str, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    others = [info for info in infos if info.run_id != layers.info.run_id]
    if not others:
        st.info(
            "No other selected run has recorded its layers. Select another one in the sidebar.",
            icon=":material/compare_arrows:",
        )
        return
    ids = [info.run_id for info in others]
    with st.container(width=330):
        chosen = linked.select("With run", links.OTHER_RUN, ids, ids[0], format_func=lambda one: labels[one])
    other = read_layers(next(info for info in others if info.run_id == chosen), labels[chosen])
    alignment = align_runs(layers, other)
    if not alignment.pairs:
        st.warning("No tensor of the two runs has the same name and shape. Map them by hand:")
        mapping_editor(layers, other, alignment)
        return
    mine = [name for name, _ in alignment.pairs]
    theirs = [name for _, name in alignment.pairs]
    what = STATISTICS[key]
    grids = [statistic_grid(layers.statistics, mine, key), statistic_grid(other.statistics, theirs, key)]
    if not all(one.names for one in grids):
        missing = layers if not grids[0].names else other
        st.info(
            f"{esc(missing.label, 60)} has no {esc(what.title.lower())} recorded.", icon=":material/visibility_off:"
        )
        return
    ends = grid_ends(grids, what.log)
    for column, one, side in zip(st.columns(2), grids, (layers, other), strict=True):
        with column:
            code = grid_lines(one.names, key, str(side.info.path))
            chart = f"layers_runs_{side.info.run_id}_{key}"
            draw_grid(one, key, chart, title=f"{what.title}: {side.label}", ends=ends, code=code, height=_height(grids))
    _at_equal_step(layers, other, dict(zip(theirs, mine, strict=True)), grids, key)
    say_unmatched(layers, other, alignment)
    mapping_editor(layers, other, alignment)


def _height(grids: Sequence[Grid]) -> int:
    return min(max(max(len(grid.names) for grid in grids) * 15, 130), 520)


def _at_equal_step(layers: Layers, other: Layers, to_mine: Mapping[str, str], grids: Sequence[Grid], key: str) -> None:
    common = np.intersect1d(grids[0].steps, grids[1].steps)
    if not common.size:
        st.caption("The two runs have no recorded step in common, so they are not drawn against each other.")
        return
    step = pick_step("At step", links.STEP, common.tolist())
    mine = dict(zip(grids[0].names, at_step(grids[0], step).tolist(), strict=True))
    theirs = {
        to_mine[name]: value for name, value in zip(grids[1].names, at_step(grids[1], step).tolist(), strict=True)
    }
    names = [name for name in mine if name in theirs]
    before, after = np.array([mine[name] for name in names]), np.array([theirs[name] for name in names])
    to_theirs = {name: other_name for other_name, name in to_mine.items()}
    what = STATISTICS[key]
    chart, table = st.columns([3, 2])
    first, second = plain(layers.label, 40), plain(other.label, 40)
    second = second if second != first else f"{second} (2)"
    with chart:
        depth_card(
            f"{what.title} at step {step:,}",
            f"layers_runs_depth_{layers.info.run_id}_{other.info.run_id}_{key}",
            [(first, names, before), (second, names, after)],
            what.title,
            log=what.log,
            code=depth_lines(
                key,
                [
                    Side(first, str(layers.info.path), step, names),
                    Side(second, str(other.info.path), step, [to_theirs[name] for name in names]),
                ],
            ),
        )
    with table:
        change_table(names, before, after, (first, second))
