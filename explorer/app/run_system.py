"""How busy the machine was while a run was recorded: processor, memory, disk, network, GPU over time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from explorer.app.metrics_hover import hover
from explorer.app.metrics_series import relative_unit
from explorer.app.metrics_tables import Curve, Frame, draw
from explorer.app.metrics_zoom import reported
from explorer.app.names import esc, plain
from explorer.charts.curves import ZOOM, curves_spec
from explorer.charts.look import CurveLook, domain
from explorer.charts.tables import view_table

if TYPE_CHECKING:
    from explorer.reading.runs import Run

Floats = npt.NDArray[np.float64]

_PREFIX: Final = "system/"
_TRAINING_STEP: Final = "system/training_step"  # where the training was at each sample: no load
_TOPICS: Final = {"cpu": "Processor", "memory": "Memory", "disk": "Disk", "network": "Network", "gpu": "GPU"}
_UNITS: Final = (
    ("_mib_per_s", "MiB/s"),
    ("_percent", "%"),
    ("_mib", "MiB"),
    ("_w", "W"),
    ("_c", "°C"),
)
_HEIGHT: Final = 190
_MAX_PANELS: Final = 24


def system(run: Run) -> None:
    """Draw one chart for each topic and unit; say so when nothing was recorded."""
    table = run.system()
    names = [name for name in table.columns if name.startswith(_PREFIX) and name != _TRAINING_STEP]
    if table.empty or not names:
        st.info(
            "No system metrics are recorded yet. The recorder measures the machine every 10 seconds unless "
            "`Recorder(..., system_every_s=...)` says otherwise.",
            icon=":material/monitor_heart:",
        )
        return
    wall_us = table["wall_time"].astype("datetime64[us]").astype("int64").to_numpy(dtype=np.float64)
    unit, unit_s = relative_unit([run.info])
    since_start = np.asarray((wall_us - run.info.created.timestamp() * 1e6) / (1e6 * unit_s), dtype=np.float64)
    columns = st.columns(2)
    for place, ((topic, panel_unit), members) in enumerate(list(panels(names).items())[:_MAX_PANELS]):
        with columns[place % 2]:
            _panel(topic, panel_unit, members, table, since_start, unit)
    st.caption(f"{len(table):,} samples, {esc(run.info.host or 'unknown host', 80)}. The time is since the run began.")


def panels(names: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Which metrics share a chart: those of one topic and one unit.

    Returns:
        (topic, unit) to label in the chart to metric name; processor first, then as `_TOPICS` orders them.

    >>> panels(["system/process_cpu_percent", "system/cpu_percent"])
    {('Processor', '%'): {'cpu': 'system/cpu_percent', 'process cpu': 'system/process_cpu_percent'}}
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in sorted(names):
        text = name.removeprefix(_PREFIX)
        unit = next((unit for ending, unit in _UNITS if text.endswith(ending)), "")
        label = next((text.removesuffix(ending) for ending, _ in _UNITS if text.endswith(ending)), text)
        found.setdefault((_topic(text), unit), {})[label.replace("_", " ") or text] = name
    order = list(_TOPICS.values())
    return dict(
        sorted(found.items(), key=lambda item: (order.index(item[0][0]) if item[0][0] in order else 99, item[0]))
    )


def _topic(text: str) -> str:
    words = re.findall(r"[a-z]+", text)
    if "gpu" in words:
        return _TOPICS["gpu"]
    return next((title for word, title in _TOPICS.items() if word in words), "Other")


def _panel(
    topic: str, panel_unit: str, members: Mapping[str, str], table: pd.DataFrame, x: Floats, time_unit: str
) -> None:
    title = f"{topic} ({panel_unit})" if panel_unit else topic
    curves = []
    for label, name in members.items():
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        there = ~np.isnan(values)
        order = np.argsort(x[there], kind="stable")
        if there.any():
            curves.append(Curve(plain(label, 60), x[there][order], values[there][order]))
    if not curves:
        return
    key = f"run_system_{re.sub(r'[^A-Za-z]+', '_', title)}"
    drawn = draw(curves, Frame(reported(key)))
    if panel_unit == "%":  # from nothing to all of it; processes with several threads go beyond
        drawn.tables["view"] = view_table(
            drawn.window, (-2.0, 1.04 * max(100.0, *(float(curve.y.max()) for curve in curves)))
        )
    labels = tuple(curve.label for curve in curves)
    look = CurveLook(
        domain=domain({label: place for place, label in enumerate(labels)}),
        shown=labels,
        x_title=f"time since start ({time_unit})",
        x_kind="number",
        height=_HEIGHT,
    )
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{esc(title)}**")
        spec = {**curves_spec(look), "datasets": {**drawn.tables, "hover": hover(drawn, "number", False)}}
        st.vega_lite_chart(spec, key=key, on_select="rerun", selection_mode=[ZOOM], alt=f"{title} over time")
