"""What the colours of modules say: a recorded statistic at a step, their size, or the time that they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from explorer.app.colours import DARK_DIVERGING, DARK_RAMP, LIGHT_DIVERGING, LIGHT_RAMP
from explorer.app.distributions_data import kept
from explorer.app.layers_data import STATISTICS
from explorer.app.model_values import ModuleValue, module_values
from explorer.app.run_text import value_text
from explorer.charts.graph import Kind, Paint

if TYPE_CHECKING:
    from explorer.app.layers_data import LayerStatistics
    from explorer.app.model_source import Architecture
    from explorer.app.model_timing import Times

NOTHING: Final = "none"
SIZE: Final = "parameters"
TIME: Final = "time"
_FIRST: Final = ("update_ratio", "grad_norm", "norm", "act_std", SIZE)
_DARK_INK: Final = "#0a1018"
_LIGHT_INK: Final = "#ffffff"
_EVEN: Final = 0.19  # relative luminance at which both stand out alike


@dataclass(frozen=True, eq=False)
class Painting:
    """A number for modules.

    Attributes:
        key: `none`, `parameters`, `time`, or a statistic.
        title: with its unit.
        values: of modules by path; those without one are left out.
        nodes: of single operators by name.
        is_log: whether a logarithmic scale suits it.
        about: one sentence about it.
    """

    key: str
    title: str
    values: Mapping[str, ModuleValue] = field(default_factory=dict)
    nodes: Mapping[str, float] = field(default_factory=dict)
    is_log: bool = False
    about: str = ""

    def of(self, paths: Sequence[str]) -> ModuleValue | None:
        """Of a module, or of several that share a box: the one that is furthest from 0, NaN before anything."""
        found = [self.values[path] for path in paths if path in self.values]
        return max(found, key=lambda one: np.inf if one.value != one.value else abs(one.value), default=None)


def options(statistics: LayerStatistics, times: Times | None, has_sizes: bool) -> dict[str, str]:
    """Return what can be painted, with titles, in order."""
    found = {NOTHING: "Nothing"}
    if has_sizes:
        found[SIZE] = "Number of parameters"
    found[TIME] = "Time (ms), measured" if times is not None else "Time: measure it first"
    return found | {key: STATISTICS[key].title for key in statistics.recorded()}


def first_choice(offered: Iterable[str]) -> str:
    """Return what is painted when nobody chose: the first that is recorded of those that tell most."""
    known = set(offered)
    return next((key for key in _FIRST if key in known), NOTHING)


def painting(
    key: str, model: Architecture, statistics: LayerStatistics, step: int | None, times: Times | None
) -> Painting:
    """Return the numbers of one choice of `options`; `step` is of a statistic."""
    return kept(
        ("model painting", key, model, statistics, step, times),
        lambda: _painting(key, model, statistics, step, times),
    )


def _painting(
    key: str, model: Architecture, statistics: LayerStatistics, step: int | None, times: Times | None
) -> Painting:
    if key == SIZE:
        sizes = {path: row.num_parameters for path, row in model.rows.items() if row.num_parameters}
        values = {path: ModuleValue(float(size), "", 1) for path, size in sizes.items()}
        return Painting(key, "Parameters", values, is_log=True, about="Elements of the parameters in it and below.")
    if key == TIME:
        if times is None:
            return Painting(key, "Time (ms)")
        values = {path: ModuleValue(spent, "", 1) for path, spent in times.total_ms.items()}
        return Painting(key, "Time (ms)", values, times.node_ms, is_log=False, about=times.about)
    if key in STATISTICS and step is not None:
        what = STATISTICS[key]
        values = module_values(model, statistics, key, step)
        return Painting(key, what.title, values, is_log=what.log, about=what.about)
    return Painting(NOTHING, "")


@dataclass(frozen=True)
class Scale:
    """A scale of colours: its ends and what is between them, `#rrggbb`."""

    kind: Kind
    low: float
    high: float
    colours: tuple[str, ...]

    def share(self, value: float) -> float:
        """Where a value is between the ends, from 0 to 1."""
        low, high = self.low, self.high
        if self.kind == "log":
            low, high, value = (float(np.log(max(number, 1e-300))) for number in (low, high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    def colour(self, value: float) -> str:
        """The colour of a finite value."""
        place = self.share(value) * (len(self.colours) - 1)
        k = min(int(place), len(self.colours) - 2)
        one, other = (_rgb(colour) for colour in self.colours[k : k + 2])
        mixed = [round(a + (b - a) * (place - k)) for a, b in zip(one, other, strict=True)]
        return "#" + "".join(f"{part:02x}" for part in mixed)

    def paint(self, title: str) -> Paint:
        """The same for a chart."""
        return Paint(title, self.kind, self.colours)


def scale(found: Painting, values: Iterable[float], dark: bool) -> Scale | None:
    """Return the scale for these values: diverging where they have both signs, logarithmic where that suits.

    None without a finite value.
    """
    finite = np.array([value for value in values if np.isfinite(value)], np.float64)
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    if low < 0 < high:
        most = max(-low, high)
        return Scale("diverging", -most, most, DARK_DIVERGING if dark else LIGHT_DIVERGING)
    colours = DARK_RAMP if dark else LIGHT_RAMP
    if found.is_log and low > 0:
        if low == high:
            low, high = low / 2, high * 2
        return Scale("log", low, high, colours)
    if high <= 0 and low < 0:
        return Scale("linear", low, 0.0, colours[::-1])
    low = 0.0
    return Scale("linear", low, high if high > 0 else 1.0, colours)


def ink(fill: str) -> str:
    """Return the colour of a text that stands out most from this one, by the contrast ratio of WCAG 2."""
    parts = [part / 255 for part in _rgb(fill)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return _DARK_INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _EVEN else _LIGHT_INK


def told(value: float | None, key: str = "") -> str:
    """Return a value as text; milliseconds and counts with their unit."""
    if value is None:
        return "not recorded" if key != TIME else "not measured"
    if key == TIME:
        return f"{value:.3g} ms"
    text = f"{value:,.0f}" if key == SIZE else value_text(value, digits=3)
    return "−" + text[1:] if text.startswith("-") else text  # a sign that no dot before it swallows


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
