"""How much a step moves each layer, relative to its size: all layers on one logarithmic axis, and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import linked
from explorer.app.colours import LIGHT_RAMP
from explorer.app.export_menu import Export, below, card_head
from explorer.app.layers_code import curve_lines, grid_lines
from explorer.app.layers_grid import Grid, draw_grid, statistic_grid
from explorer.app.names import count_text, name_list, plain
from explorer.app.picture_card import grid_csv
from explorer.charts.export import standalone
from explorer.charts.layers import MAX_LINE_ROWS, RATIO_BAND, LinesLook, lines_table, log_ends, many_lines_spec
from explorer.charts.tables import view_table
from explorer.reading.downsample import m4

if TYPE_CHECKING:
    from explorer.app.layers_read import Layers

Floats = npt.NDArray[np.float64]

BIASES: Final = "biases"  # key of the address
_PICTURE_PX: Final = 460  # height of an exported picture
_NOT_RECORDED: Final = (
    "The update ratio is not recorded for this run: call `rec.watch(model, optimizer)` once before the training loop."
)


def ratio(layers: Layers) -> None:
    """Draw the update ratio of all layers of a run."""
    everything = [layer for layer in layers.rows if layer.group == "parameters" and layer.trainable is not False]
    frozen = [layer.name for layer in layers.rows if layer.group == "parameters" and layer.trainable is False]
    weights = [layer for layer in everything if len(layer.shape) > 1]
    with_biases = linked.toggle(
        "Biases and scales too", BIASES, help="Tensors of one dimension: their ratios are far less regular."
    )
    shown = everything if with_biases or not weights else weights
    grid = statistic_grid(layers.statistics, [layer.name for layer in shown], "update_ratio")
    if not grid.names:
        st.info(_NOT_RECORDED, icon=":material/visibility_off:")
        return
    _lines(grid, layers, curve_lines(grid.names, "update_ratio", {layers.label: str(layers.info.path)}))
    st.markdown(outside_text(grid))
    if frozen:
        st.caption(f"{count_text(len(frozen), 'frozen tensor')} left out: {name_list(frozen)}")
    title = "Update ratio by layer and step"
    code = grid_lines(grid.names, "update_ratio", str(layers.info.path))
    chart = f"layers_ratio_{layers.info.run_id}"
    draw_grid(grid, "update_ratio", chart, title=title, of=layers.label, code=code)


def _lines(grid: Grid, layers: Layers, code: str) -> None:
    xs, ys = drawn_points(grid)
    places = np.linspace(0.0, 1.0, len(grid.names)).tolist() if len(grid.names) > 1 else [0.0]
    look = LinesLook(y_title="update ratio", band=RATIO_BAND)
    ends = log_ends(np.append(np.concatenate([np.empty(0), *ys]), RATIO_BAND))
    first, last = (float(grid.steps[0]), float(grid.steps[-1])) if grid.steps.size else (0.0, 1.0)
    tables = {
        "lines": lines_table([plain(name, 80) for name in grid.names], places, xs, ys),
        "view": view_table((first, last) if last > first else (first - 0.5, first + 0.5), ends),
    }
    title = "Update ratio of every layer"
    key = f"layers_ratio_lines_{layers.info.run_id}"
    num_points = int(grid.values.count())
    drawn = sum(len(x) for x in xs)
    how = "every point" if drawn == num_points else "first, min, max, last of equal parts"
    dropped = int((np.ma.filled(grid.values, 1.0) <= 0).sum())
    parts = [count_text(len(grid.names), "layer"), f"{num_points:,} points", how]
    parts += [f"{dropped:,} at or below 0 not on the logarithmic axis"] if dropped else []
    told = " · ".join([*parts, "band: 3e-4 to 3e-3"])
    spec = many_lines_spec(look)
    filled = np.ma.filled(grid.values, np.nan)
    export = Export(
        name=key, stem=f"{title} {layers.label}", code=code,
        spec=lambda: standalone(spec, tables, (), LIGHT_RAMP, title, below(layers.label, told), _PICTURE_PX),
        table=lambda: grid_csv(grid.names, grid.steps.tolist(), filled, "layer"),
    )  # fmt: skip
    with st.container(border=True, gap=None):
        card_head(
            title,
            export,
            help="Norm of the change of one step over the norm of the weights before it. The band is 3e-4 to 3e-3, "
            "around the rule of thumb of 1e-3; warm-up and the end of a schedule leave it on purpose.",
        )
        st.vega_lite_chart({**spec, "datasets": tables}, key=key, alt=title)
        st.caption(told)


def drawn_points(grid: Grid) -> tuple[list[Floats], list[Floats]]:
    """Return steps and positive values of each layer, thinned so that all layers fit into one chart."""
    budget = max(MAX_LINE_ROWS // max(len(grid.names), 1), 8)
    xs, ys = [], []
    for row in range(len(grid.names)):
        there = ~np.ma.getmaskarray(grid.values)[row]
        x, y = grid.steps[there].astype(np.float64), np.ma.getdata(grid.values)[row, there]
        good = np.isfinite(y) & (y > 0)
        y = np.where(good, y, np.nan)
        if y.size > budget:
            kept = m4(x, y, x[0], x[-1], budget // 4)
            x, y = x[kept], y[kept]
        xs.append(x)
        ys.append(y)
    return xs, ys


def outside_text(grid: Grid) -> str:
    """Return Markdown that names the layers whose ratio at the last step is outside the band, with the ratios."""
    low, high = RATIO_BAND
    there = ~np.ma.getmaskarray(grid.values)[:, -1]
    last = [(grid.names[row], float(grid.values[row, -1])) for row in np.flatnonzero(there).tolist()]
    bad = [name for name, value in last if not np.isfinite(value)]
    at = f"at step {int(grid.steps[-1]):,}"
    torn = f"**NaN or infinite {at}: {count_text(len(bad), 'layer')}**: {name_list(bad)}. " if bad else ""
    last = [(name, value) for name, value in last if np.isfinite(value)]
    above, below = ([(n, v) for n, v in last if v > high], [(n, v) for n, v in last if v < low])
    if not above and not below:
        return torn + (f"All {len(last):,} {'other ' if bad else ''}layers are inside the band {at}." if last else "")
    parts = []
    for which, found in (("above", above), ("below", below)):
        if found:
            found = sorted(found, key=lambda one: -abs(np.log(max(one[1], 1e-300))))
            told = name_list([f"{plain(name, 50)} ({value:.2g})" for name, value in found])
            parts.append(f"{count_text(len(found), 'layer')} {which} it: {told}")
    return f"{torn}Outside the band {at}: " + "; ".join(parts) + "."
