"""Which colour a run has: the theme's palette by a place that a run keeps as long as the app lives."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

NUM_COLOURS = 8
# The same colours as chartCategoricalColors in .streamlit/config.toml, for what is not a chart.
LIGHT = ("#1d5fd1", "#e07b00", "#7a5283", "#c91304", "#0f92f7", "#312785", "#612326", "#868686")
DARK = ("#6aa9ff", "#ffa02e", "#8b6ba2", "#d85218", "#97f5ee", "#2071f3", "#e6e988", "#9e9e9e")
# The same as chartSequentialColors there, faintest first, for pictures that are heat maps.
LIGHT_RAMP = (
    "#eef4fc", "#d5e4f8", "#b7d0f2", "#93b8ea", "#6d9ee0", "#4985d5", "#2f6dc3", "#2158a5", "#194583", "#123362",
)  # fmt: skip
DARK_RAMP = (
    "#16263d", "#1b365a", "#214878", "#285b97", "#3270b6", "#4787cf", "#679fe0", "#8cb8ec", "#b4d1f5", "#dceafb",
)  # fmt: skip
# Of the same lightness, without a colour: what is there, but within chance.
LIGHT_MUTED = ("#f3f4f6", "#b9bec6")
DARK_MUTED = ("#1b2029", "#4b535f")
# The same as chartDivergingColors there, for weights: below 0, above 0.
LIGHT_DIVERGING = (
    "#1d5fd1", "#4f84dc", "#86aae7", "#b9cff2", "#e6eefa", "#fbeadb", "#f6cda0", "#efaa60", "#e78a27", "#c96a00",
)  # fmt: skip
DARK_DIVERGING = (
    "#6aa9ff", "#5187cc", "#3a6699", "#294869", "#1c2c3e", "#3b2c1b", "#664726", "#996632", "#cc8436", "#ffa02e",
)  # fmt: skip
# Line patterns of runs that share a colour, for charts (lengths in pixels) and for text.
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))
STROKES = ("━━", "╍╍", "┅┅", "┉┉")


class Slot(NamedTuple):
    """The look of a run: `colour` is an index into the theme's palette, `dash` an index into `DASHES`."""

    colour: int
    dash: int


class _Places:
    """Numbers given to run ids in the order they are first seen; a number is never given twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place: dict[str, int] = {}

    def order(self, infos: Iterable[RunInfo]) -> dict[str, int]:
        """Return the place of each run id of `infos`, oldest run first where several are new."""
        with self._lock:
            for info in sorted(infos, key=lambda info: (info.created, info.run_id)):
                self._place.setdefault(info.run_id, len(self._place))
            return dict(self._place)


@st.cache_resource(show_spinner=False, max_entries=8)
def _places(root: str) -> _Places:
    return _Places()


def register(root: str, infos: Iterable[RunInfo]) -> None:
    """Give every run of the root its place, oldest first; the frame does so before a page is drawn."""
    _places(root).order(infos)


def run_domain(root: str, infos: Iterable[RunInfo]) -> list[str]:
    """Return the ids of all runs ever seen in `root`, in an order that only grows at its end.

    A chart whose colour scale has this domain and no range gives a run the same colour for life.
    """
    places = _places(root).order(infos)
    return sorted(places, key=places.__getitem__)


def run_slots(root: str, shown: Iterable[RunInfo]) -> dict[str, Slot]:
    """Return the look of runs that are shown together, by run id, oldest first.

    A run has the same colour on every page for life. Lines are solid, and dashed only where an older one of the runs
    shown has the same colour.
    """
    runs = list(shown)
    places = _places(root).order(runs)
    used: Counter[int] = Counter()
    slots: dict[str, Slot] = {}
    for run_id in sorted((info.run_id for info in runs), key=places.__getitem__):
        colour = places[run_id] % NUM_COLOURS
        slots[run_id] = Slot(colour, used[colour] % len(DASHES))
        used[colour] += 1
    return slots


def run_places(root: str, shown: Iterable[RunInfo]) -> dict[str, int]:
    """Return the look of runs that are shown together as their places in the palette of a chart, by run id."""
    slots = run_slots(root, shown)
    return {run_id: slot.dash * NUM_COLOURS + slot.colour for run_id, slot in slots.items()}
