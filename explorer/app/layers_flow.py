"""Gradient flow: the size of the gradient in every layer, by depth at one step and over all steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import links, state
from explorer.app.colours import LIGHT
from explorer.app.export_menu import Export, below, card_head
from explorer.app.layers_code import Side, depth_lines, grid_lines
from explorer.app.layers_data import GRAD
from explorer.app.layers_grid import Grid, draw_grid, statistic_grid
from explorer.app.names import count_text, name_list, plain
from explorer.app.picture_card import grid_csv
from explorer.app.run_text import value_text
from explorer.charts.export import standalone
from explorer.charts.layers import DepthLook, depth_spec, linear_ends, log_ends, points_table
from explorer.charts.look import CurveLook, domain
from explorer.charts.tables import view_table

if TYPE_CHECKING:
    from explorer.app.layers_read import Layers

Floats = npt.NDArray[np.float64]

MAX_LAYERS: Final = 300
_MAX_STOPS: Final = 500
_HEAD_PX: Final = 80  # title and caption of an exported picture


def flow(layers: Layers) -> None:
    """Draw the gradient norm of all layers of a run."""
    weights = [layer.name for layer in layers.rows if layer.group == "parameters" and len(layer.shape) > 1]
    names = weights or [layer.name for layer in layers.rows if layer.group == "parameters"]
    grid = statistic_grid(layers.statistics, names, "grad_norm")
    if not grid.names:
        st.info(
            "Gradients are not recorded for this run: call `rec.watch(model, optimizer)` once before the loop.",
            icon=":material/visibility_off:",
        )
        return
    step = pick_step("Step", links.STEP, grid.steps.tolist())
    place = int(np.searchsorted(grid.steps, step))
    values = np.ma.filled(grid.values[:, place], np.nan)
    path = str(layers.info.path)
    code = depth_lines("grad_norm", [Side("gradient norm", path, step, grid.names)])
    title = f"Gradient norm by depth, step {step:,}"
    series = [("gradient norm", grid.names, values)]
    depth_card(
        title, f"layers_flow_{layers.info.run_id}", series, "gradient norm (L2)", log=True, of=layers.label, code=code
    )
    torn = [name for name in grid.names if layers.statistics.not_finite(name, GRAD, step)]
    st.markdown(flow_text(values, torn))
    draw_grid(
        grid,
        "grad_norm",
        f"layers_flow_grid_{layers.info.run_id}",
        title="Gradient norm by layer and step",
        of=layers.label,
        code=grid_lines(grid.names, "grad_norm", path),
    )


def pick_step(label: str, key: str, steps: Sequence[int], default: int | None = None) -> int:
    """Draw a slider over recorded steps (at most 500 of them), opened at the one nearest to the link's.

    Args:
        label: of the slider.
        key: of the address.
        steps: at least one, ascending.
        default: where it stands without a link; the last step when None.
    """
    if len(steps) < 2:
        return steps[0]
    default = steps[-1] if default is None else default
    if len(steps) > _MAX_STOPS:  # every one of them would travel to the browser
        steps = [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, _MAX_STOPS).astype(int))]
    asked = state.get(key)
    at = at_default = min(steps, key=lambda step: abs(step - default))
    if asked is not None and asked.lstrip("-").isdigit() and len(asked) < 20:
        at = min(steps, key=lambda step: abs(step - int(asked)))
    widget = f"slider.{key}.{label}"
    st.session_state[widget] = at
    chosen = st.select_slider(
        label, steps, key=widget, format_func=lambda step: f"{step:,}", on_change=_write, args=(key, widget, at_default)
    )
    return int(chosen)


def _write(key: str, widget: str, default: int) -> None:
    chosen = int(st.session_state[widget])
    state.put(key, None if chosen == default else str(chosen))


def depth_card(
    title: str,
    key: str,
    series: Sequence[tuple[str, Sequence[str], Floats]],
    axis: str,
    *,
    log: bool,
    of: str = "",
    code: str | None = None,
    rule: float | None = None,
) -> None:
    """Draw one dot per layer and series, first layer at the top.

    Args:
        title: above the chart, plain text.
        key: of the chart.
        series: label (the same for every step, or each step would be another chart), names of layers in model order,
            and float64 value of each.
        axis: title of the x axis.
        log: logarithmic x axis.
        of: whose numbers these are, told under the title of an exported picture.
        code: Python lines, or None.
        rule: a value marked by a line.
    """
    names = list(dict.fromkeys(name for _, layers, _ in series for name in layers))[:MAX_LAYERS]
    shown = set(names)
    rows = [
        (plain(name, 80), plain(label, 60), float(value))
        for label, layers, values in series
        for name, value in zip(layers, values, strict=True)
        if name in shown
    ]
    values = np.array([value for _, _, value in rows], dtype=np.float64)
    drawable = np.where(values > 0, values, np.nan) if log else values
    labels = tuple(dict.fromkeys(label for _, label, _ in rows))
    look = DepthLook(
        layers=tuple(dict.fromkeys(plain(name, 80) for name in names)),
        series=CurveLook(
            domain=domain({label: place for place, label in enumerate(labels)}),
            shown=labels,
            max_legend=6 if len(labels) > 1 else 0,
        ),
        title=axis,
        log=log,
        rule=rule,
    )
    ends = log_ends(drawable) if log else linear_ends(np.append(drawable, [] if rule is None else [rule]))
    tables = {
        "points": points_table(
            [row[0] for row in rows], [row[1] for row in rows], drawable, [value_text(row[2]) for row in rows]
        ),
        "view": view_table(ends, (0.0, 1.0)),
    }
    parts = [f"{count_text(len(names), 'layer')} in model order, first at the top"]
    if log and (num := int((values <= 0).sum())):
        parts.append(f"{num:,} at or below 0 not on the logarithmic axis")
    if num := int((~np.isfinite(values)).sum()):
        parts.append(f"{num:,} not recorded, NaN or Inf")
    told = " · ".join(parts)
    spec = depth_spec(look)
    export = Export(
        name=key, stem=title, table=lambda: _csv(series), code=code,
        spec=lambda: standalone(spec, tables, LIGHT, (), title, below(of, told), int(spec["height"]) + _HEAD_PX),
    )  # fmt: skip
    with st.container(border=True, gap=None):
        card_head(title, export)
        st.vega_lite_chart({**spec, "datasets": tables}, key=key, alt=plain(axis, 200))
        st.caption(told)


def _csv(series: Sequence[tuple[str, Sequence[str], Floats]]) -> bytes:
    names = list(dict.fromkeys(name for _, layers, _ in series for name in layers))
    values = np.full((len(names), len(series)), np.nan)
    for column, (_, layers, found) in enumerate(series):
        for name, value in zip(layers, found, strict=True):
            values[names.index(name), column] = value
    return grid_csv(names, [label for label, _, _ in series], values, "layer")


def flow_text(values: Floats, torn: Sequence[str]) -> str:
    """Return Markdown that tells the first weight's gradient over the last one's, which vanishing gradients make small.

    Args:
        values: the norm of each layer's gradient, NaN where it was not recorded.
        torn: names of the layers whose gradient has values that are NaN or infinite, which norms leave out.

    >>> flow_text(np.array([0.5, 1.0, 2.0]), [])
    'First weight over last weight: 0.25. Below 1e-3 gradients vanish on their way back, above 1e3 they explode.'
    """
    if torn:
        return f"**NaN or infinite values at this step in the gradient of {count_text(len(torn), 'layer')}**: " + (
            f"{name_list(torn)}. The norms are those of the finite values."
        )
    good = values[np.isfinite(values)]
    if good.size < 2 or good[-1] <= 0:
        return "The first and the last weight have no gradients to compare at this step."
    return (
        f"First weight over last weight: {good[0] / good[-1]:.3g}. Below 1e-3 gradients vanish on their way back, "
        "above 1e3 they explode."
    )


def at_step(grid: Grid, step: int) -> Floats:
    """Return the value of each layer at a step of the grid, NaN where it was not recorded."""
    filled: Floats = np.ma.filled(grid.values[:, int(np.searchsorted(grid.steps, step))], np.nan)
    return filled
