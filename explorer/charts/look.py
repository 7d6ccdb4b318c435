"""What a chart of curves looks like: the few facts that its specification depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

# Series that the tooltip can show; more are counted in its last line.
MAX_HOVER: Final = 10
NUM_COLOURS: Final = 8
DASHES: Final = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))
# Colours and patterns repeat after this many places, so a domain may be padded modulo this number.
PERIOD: Final = NUM_COLOURS * len(DASHES)

XKind = Literal["number", "whole", "utc"]


@dataclass(frozen=True, kw_only=True)
class CurveLook:
    """What the specification of a chart depends on; two equal looks give one specification.

    Attributes:
        domain: labels by place in the palette; a series keeps its colour whatever else is drawn (see `domain`).
        shown: labels of the series that are drawn, in the order of legend and tooltip.
        x_title: title of the x axis, with its unit.
        x_kind: `whole` numbers (steps), any `number`, or `utc` (milliseconds since 1970).
        log_x, log_y: logarithmic axes.
        smooth: whether a smoothed line is drawn over the raw one.
        height: of the plot in pixels.
        legend_px: about how wide the legend may be.
        max_legend: with more series than this there is no legend; the tooltip tells them.
        title: drawn inside the chart, for exports; in the app the title stands above the chart.
    """

    domain: tuple[str, ...]
    shown: tuple[str, ...]
    x_title: str = "step"
    x_kind: XKind = "whole"
    log_x: bool = False
    log_y: bool = False
    smooth: bool = False
    height: int = 240
    legend_px: int = 440
    max_legend: int = 6
    title: str = ""


def domain(places: Mapping[str, int]) -> tuple[str, ...]:
    r"""Return a domain that gives each label the look of its place, whatever other labels are there.

    Args:
        places: place of each label in the order that all runs of a root have for life.

    Returns:
        The labels, with fillers between them so that position modulo `PERIOD` equals place modulo `PERIOD`.

    >>> domain({"b": 2})
    ('\u2060', '\u2060\u2060', 'b')
    """
    out: list[str] = []
    for label, place in sorted(places.items(), key=lambda item: (item[1], item[0])):
        while len(out) % PERIOD != place % PERIOD:
            out.append("\u2060" * (1 + sum(text.strip("\u2060") == "" for text in out)))
        out.append(label)
    return tuple(out)
