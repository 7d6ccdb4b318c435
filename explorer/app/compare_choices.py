"""What the Compare page is asked to show: reference run, statistic, which way is better, which metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from explorer.analysis.settings import STATISTICS, Direction, Statistic, better_direction
from explorer.app import linked, links
from explorer.app.names import esc

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

# Keys of the address that only this page has.
STATISTIC: Final = "stat"
BETTER: Final = "better"
SHOW: Final = "diff"
SEARCH: Final = "metric"
ALL_SETTINGS: Final = "all"
CURVE: Final = "curve"

OFF: Final = "off"
BY_NAME: Final = "name"
_BETTER: Final[Mapping[str, str]] = {
    OFF: "Not coloured",
    BY_NAME: "As names suggest",
    "lower": "Lower is better",
    "higher": "Higher is better",
}
MAX_RUNS: Final = 24
_DIFFERENCES: Final[Mapping[str, str]] = {"both": "Δ and Δ %", "absolute": "Δ", "percent": "Δ %"}
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "both": ("difference", "percent"),
    "absolute": ("difference",),
    "percent": ("percent",),
}
_WIDE: Final = 4  # more runs than this leave room for one difference each
_MAX_NAMED: Final = 6


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the page shows, as chosen by the user or by the link."""

    reference: str
    """Run id that the others are compared to."""
    statistic: Statistic
    """Which number of a metric."""
    differences: tuple[str, ...] = ("difference", "percent")
    """Fields of `metric_table` to show beside each value."""
    better: str
    """`off`, `name`, or one direction for all metrics."""
    search: str
    """Text that the names of the metrics must hold."""

    @property
    def one_direction(self) -> Direction | None:
        """Which way every metric improves, None when that is not said for all of them alike."""
        return cast(Direction, self.better) if self.better in ("lower", "higher") else None

    def directions(self, metrics: Iterable[str]) -> dict[str, Direction]:
        """Which way each metric improves, for those where the choice or the name tells; by name when switched off."""
        if self.one_direction is not None:
            return dict.fromkeys(metrics, self.one_direction)
        guesses = {metric: better_direction(metric) for metric in metrics}
        return {metric: guess for metric, guess in guesses.items() if guess is not None}


def choose_reference(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> str:
    """Draw the choice of the reference run, say when the link names one that is not compared, and return its id.

    The default is the oldest of the runs: what came after it is the change.
    """
    ids = [info.run_id for info in infos]
    asked = linked.unknown(links.REFERENCE, ids)
    oldest = min(infos, key=lambda info: (info.created, info.run_id)).run_id
    if asked is not None:
        st.warning(
            f"The link compares against {esc(asked, 80)}, which is not among the selected runs. "
            f"{esc(labels[oldest])} is the reference now; select the other run in the sidebar, or choose below.",
            title="The reference of the link is not selected",
            icon=":material/link_off:",
        )
    return linked.select(
        "Reference",
        links.REFERENCE,
        {run_id: labels[run_id] for run_id in ids},
        oldest,
        help="Differences are run minus reference, and in percent of the reference's size.",
    )


def choose(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> Choices:
    """Draw the controls of the page in one row and return what they say."""
    with st.container(horizontal=True, vertical_alignment="top"):
        reference = choose_reference(infos, labels)
        statistic = linked.segments("Value", STATISTIC, STATISTICS, STATISTICS[0], format_func=str.capitalize)
        default = "both" if len(infos) <= _WIDE else "percent"
        shown = linked.segments("Difference", SHOW, _DIFFERENCES, default)
        better = linked.select(
            "Colour",
            BETTER,
            _BETTER,
            OFF,
            help="Blue is better than the reference, orange is worse. You say what is better.",
        )
        search = linked.search("Metrics", SEARCH, "part of a metric's name")
    return Choices(
        reference=reference,
        statistic=cast(Statistic, statistic),
        differences=_FIELDS[shown],
        better=better,
        search=search,
    )


def limit(infos: Sequence[RunInfo], reference: str) -> list[RunInfo]:
    """The runs to compare: the reference first, then the others, at most 24 in all; say so when there are more."""
    ordered = sorted(infos, key=lambda info: info.run_id != reference)
    if len(ordered) > MAX_RUNS:
        st.caption(
            f"The reference and the newest {MAX_RUNS - 1} of the other {len(ordered) - 1:,} selected runs stand here; "
            "the table of the page Runs shows all of them."
        )
    return ordered[:MAX_RUNS]


def explain(choices: Choices, metrics: Sequence[str]) -> str:
    """Say in Markdown what is taken for better, where the names of the metrics decide; empty when they do not."""
    if choices.one_direction is not None or (choices.better == OFF and choices.statistic != "best"):
        return ""
    directions = choices.directions(metrics)
    lower = [metric for metric in metrics if directions.get(metric) == "lower"]
    higher = [metric for metric in metrics if directions.get(metric) == "higher"]
    rest = [metric for metric in metrics if metric not in directions]
    without = "without a best value" if choices.statistic == "best" else "not coloured"
    parts = [f"lower is better for {_named(lower)}"] if lower else []
    parts += [f"higher is better for {_named(higher)}"] if higher else []
    parts += [f"{without}, since the name does not tell: {_named(rest)}"] if rest else []
    return "Guessed from the names: " + "; ".join(parts) + "." if parts else ""


def _named(metrics: Sequence[str]) -> str:
    more = len(metrics) - _MAX_NAMED
    return ", ".join(esc(metric, 60) for metric in metrics[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
