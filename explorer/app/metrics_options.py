"""What the user asks of all charts of the Metrics page, kept in the address."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from explorer.app import linked, links, state
from explorer.app.metrics_axes import Reach
from explorer.app.names import esc, metric_names, plain
from explorer.charts.look import XKind

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

GROUP: Final = "group"
Y_REACH: Final = "y"
PAUSE: Final = "pause"
PER_ROW: Final = "row"

STEP: Final = "step"
RELATIVE: Final = "relative"
WALL: Final = "wall"
EPOCH: Final = "epoch"
_AXES: Final = {STEP: "Step", RELATIVE: "Relative time", WALL: "Wall time (UTC)", EPOCH: "Epoch"}
_REACHES: Final = {"auto": "Auto", "all": "Everything", "middle": "No outliers"}
METRIC: Final = "metric:"  # before the name of a metric on the x axis
CONFIG: Final = "config:"  # before a config key that runs are grouped by
NO_GROUP: Final = "none"
MAX_SMOOTHING: Final = 0.99
BY_GROUP: Final = "group"


@dataclass(frozen=True)
class Options:
    """What is drawn on all charts.

    Attributes:
        x: `step`, `relative`, `wall`, `epoch`, or `metric:` and a name.
        smoothing: weight of the value one step back, 0 (raw) to 0.99.
        group: `none`, `group`, or `config:` and a key.
        log_x, log_y: of the axes.
        reach: how far the y axis reaches; see `metrics_axes.y_ends`.
        follow: whether running runs are followed.
        per_row: charts side by side.
    """

    x: str = STEP
    smoothing: float = 0.0
    group: str = NO_GROUP
    log_x: bool = False
    log_y: bool = False
    reach: Reach = "auto"
    follow: bool = True
    per_row: int = 2

    @property
    def x_kind(self) -> XKind:
        """How positions on the x axis are written."""
        return "whole" if self.x == STEP else "utc" if self.x == WALL else "number"


def toolbar(infos: Sequence[RunInfo], running: bool) -> tuple[Options, str]:
    """Draw the controls above the charts; return what they say, and the search."""
    axes, groups = x_choices(infos), group_choices(infos)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=290):
            search = linked.search(
                "Search metrics",
                links.SEARCH,
                "Regular expression, such as loss|acc",
                help="Any part of the name, in small or capital letters.",
            )
        with st.container(width=170):
            x = linked.select("X axis", links.X_AXIS, axes, STEP, format_func=_axis_label)
        with st.container(width=180):
            smoothing = _smoothing()
        with st.container(width=170):
            group = linked.select(
                "Mean over runs",
                GROUP,
                groups,
                NO_GROUP,
                format_func=_group_label,
                help="Draws the mean of the runs of each group, with a band of one standard deviation on either side.",
            )
        with st.popover("Axes", icon=":material/tune:"):
            log_x, log_y, reach, per_row = _axes()
        paused = running and linked.toggle(
            "Pause", PAUSE, help="While a run is running, points are added every second."
        )
    _say_unknown("x axis", linked.unknown(links.X_AXIS, axes), "Steps are")
    _say_unknown("grouping", linked.unknown(GROUP, groups), "Single runs are")
    # Dates have no logarithm.
    options = Options(x, smoothing, group, log_x and x != WALL, log_y, reach, running and not paused, per_row)
    return options, search


def _axes() -> tuple[bool, bool, Reach, int]:
    log_x = linked.toggle("Logarithmic x", links.LOG_X)
    log_y = linked.toggle("Logarithmic y", links.LOG_Y)
    reach = linked.segments(
        "Y reaches",
        Y_REACH,
        _REACHES,
        "auto",
        help="Auto leaves out runs that span over 100 times what most do. No outliers: the axis ends half the "
        "height of the middle 90 % of the points beyond them. Each chart says how many points are outside.",
    )
    per_row = linked.segments("Charts side by side", PER_ROW, ["1", "2", "3", "4"], "2")
    return log_x, log_y, cast(Reach, reach), int(per_row)


def _say_unknown(what: str, asked: str | None, shown: str) -> None:
    if asked is not None:
        named = esc(asked.removeprefix(METRIC).removeprefix(CONFIG), 80)
        st.info(
            f"None of the selected runs has {named}, which the link names as {what}. {shown} shown.",
            icon=":material/link_off:",
        )


def _smoothing() -> float:
    key = "linked.smoothing"
    st.session_state[key] = _weight(state.get(links.SMOOTHING))
    return st.slider(
        "Smoothing",
        0.0,
        MAX_SMOOTHING,
        step=0.01,
        key=key,
        on_change=_write_smoothing,
        args=(key,),
        help="A moving average that forgets by distance in steps, not by number of points, and is right from the first "
        "point on. 0.9: what lies one typical distance of steps back counts 0.9 times as much.",
    )


def _weight(text: str | None) -> float:
    """A weight from the address, moved to where the slider can stand; 0 when it is not a number."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return round(min(max(value, 0.0), MAX_SMOOTHING), 2) if math.isfinite(value) else 0.0


def _write_smoothing(key: str) -> None:
    value = st.session_state[key]
    state.put(links.SMOOTHING, f"{value:g}" if value else None)


def x_choices(infos: Iterable[RunInfo]) -> list[str]:
    """Return what can stand on the x axis: epoch only when a run has recorded a metric of that name."""
    names = metric_names(infos)
    epoch = [EPOCH] if any(is_epoch(name) for name in names) else []
    return [STEP, RELATIVE, WALL, *epoch, *(METRIC + name for name in names)]


def group_choices(infos: Iterable[RunInfo]) -> list[str]:
    """Return what runs can be grouped by: the run group, and config keys that are not the same in all of them."""
    configs = [info.flat_config for info in infos]
    keys = sorted({key for config in configs for key in config})
    differ = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
    same = [key for key in keys if key not in set(differ)]
    return [NO_GROUP, BY_GROUP, *(CONFIG + key for key in differ + same)]


def is_epoch(name: str) -> bool:
    """Return whether a metric counts epochs, by its name: `epoch`, `train/epoch`."""
    return name.rsplit("/", 1)[-1].lower() == "epoch"


def _axis_label(choice: str) -> str:
    return _AXES.get(choice) or esc(choice.removeprefix(METRIC), 80)


def _group_label(choice: str) -> str:
    if choice == NO_GROUP:
        return "Off"
    return "By run group" if choice == BY_GROUP else f"By {esc(choice.removeprefix(CONFIG), 60)}"


def axis_title(x: str, unit: str) -> str:
    """Return the title of the x axis; the name of a metric is shown as it is."""
    titles = {STEP: "step", RELATIVE: f"time since start ({unit})", WALL: "time (UTC)", EPOCH: "epoch"}
    return titles.get(x) or plain(x.removeprefix(METRIC), 60)
