"""What an edit did to a prediction, as bars; specifications that stay the same while only the rows change.

| table | one row is | columns |
|---|---|---|
| bars | a class under one condition | name, place (order of the rows), condition, probability, text, low, high |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow

Spec = dict[str, Any]
Floats = npt.NDArray[np.float64]

ORIGINAL: Final = "original"
EDITED: Final = "edited"
CONTROL: Final = "random controls"
CONDITIONS: Final = (ORIGINAL, EDITED, CONTROL)
_AXIS_PX: Final = 54
_LEGEND_PX: Final = 32
_BASE: Final[Spec] = {
    "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
    "usermeta": {"embedOptions": {"renderer": "canvas"}},
    "config": {"mark": {"aria": False}},
}


@lru_cache(maxsize=64)
def bars_spec(conditions: tuple[str, ...], num_rows: int, title: str = "probability") -> Spec:
    """Return horizontal bars of probabilities, one group a class; do not change it.

    Args:
        conditions: of `CONDITIONS`, from top to bottom in each group; a condition keeps its colour.
        num_rows: classes that are drawn, which decides the height.
        title: of the x axis.
    """
    several = len(conditions) > 1
    bars: Spec = {
        "y": {
            "field": "name",
            "type": "nominal",
            "sort": {"field": "place", "op": "min", "order": "ascending"},
            "axis": {
                "title": None,
                "labelLimit": 150,
                "labelOverlap": False,
                "labelFlush": False,
                "ticks": False,
                "domain": False,
            },
        },
        "x": {
            "field": "probability",
            "type": "quantitative",
            "axis": {"title": title, "format": ".0%", "tickCount": 5},
            "scale": {"domain": [0, 1]},
        },
        "color": {
            "field": "condition",
            "type": "nominal",
            # All conditions, whichever are drawn: each keeps its colour of the theme.
            "scale": {"domain": list(CONDITIONS)},
            "legend": {"title": None, "orient": "top", "values": list(conditions)} if several else None,
        },
        "tooltip": [
            {"field": "name", "type": "nominal", "title": "class"},
            {"field": "condition", "type": "nominal"},
            {"field": "text", "type": "nominal", "title": "probability"},
        ],
    }
    if several:
        bars["yOffset"] = {"field": "condition", "type": "nominal", "scale": {"domain": list(conditions)}}
    # Axis, title and legend take their room first, so that few classes have bars, too.
    height = _AXIS_PX + (_LEGEND_PX if several else 0) + max(1, num_rows) * (6 + 10 * len(conditions))
    ends: Spec = {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}
    kept: Spec = {name: bars[name] for name in ("y", "yOffset") if name in bars}
    # Rows without ends have a rule of no length at 0.
    rule: Spec = {"mark": {"type": "rule", "color": "#808080", "strokeWidth": 1.5, "tooltip": None}}
    layers: list[Spec] = [{"mark": {"type": "bar"}, "encoding": bars}, {**rule, "encoding": {**kept, **ends}}]
    return {**_BASE, "height": height, "data": {"name": "bars"}, "layer": layers}


def bars_table(
    names: Sequence[str],
    probabilities: Sequence[tuple[str, Floats]],
    ends: Mapping[str, tuple[Floats, Floats]] | None = None,
) -> pa.Table:
    """Return `bars` for n names, in the order in which the classes are drawn.

    Args:
        names: of the classes.
        probabilities: (condition, float64[n]).
        ends: least and most of a condition that was repeated, float64[n] each, by condition.
    """
    known: dict[str, tuple[Floats, Floats]] = {**ends} if ends else {}
    none = np.full(len(names), np.nan)
    low = [known.get(condition, (none, none))[0] for condition, _ in probabilities]
    high = [known.get(condition, (none, none))[1] for condition, _ in probabilities]
    conditions = [condition for condition, _ in probabilities]
    count, flat = len(names), _flat([found for _, found in probabilities])
    return arrow.table(
        {
            "name": arrow.texts([name for _ in conditions for name in names]),
            "place": arrow.column(np.tile(np.arange(count, dtype=np.int32), len(conditions))),
            "condition": arrow.texts([condition for condition in conditions for _ in range(count)]),
            "probability": arrow.column(flat, np.isnan(flat)),
            "text": arrow.texts([_told(*three) for three in zip(flat, _flat(low), _flat(high), strict=True)]),
            "low": arrow.column(_flat(low), np.isnan(_flat(low))),
            "high": arrow.column(_flat(high), np.isnan(_flat(high))),
        }
    )


def _flat(values: Sequence[Floats]) -> Floats:
    return np.concatenate(values).astype(np.float64) if values else np.zeros(0)


def _told(value: float, low: float, high: float) -> str:
    return percent(value) if np.isnan(low) else f"{percent(value)} ({percent(low)} to {percent(high)})"


def percent(share: float) -> str:
    """A probability as text that tells small ones from 0.

    >>> percent(0.8234), percent(0.9998), percent(0.00001), percent(0.0), percent(float("nan"))
    ('82.3%', '99.98%', '0.001%', '0%', 'NaN')
    """
    if np.isnan(share):
        return "NaN"
    if share == 0 or 0.001 <= share < 0.995 or share >= 0.99995:
        return f"{100 * share:.3g}%"
    if share > 0.5:
        return f"{100 * share:.4g}%"
    return f"{100 * share:.2g}%" if share >= 1e-6 else f"{100 * share:.0e}%"
