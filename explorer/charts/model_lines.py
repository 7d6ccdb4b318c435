"""Small charts of a model: the change of every operator, outputs over steps, signed scores of features or tokens.

| table | one row is | columns |
|---|---|---|
| nodes | an operator | place, change, node, module, op, text |
| steps | an output at a step | step, name, value, text |
| rules | a vertical line over steps | step, text |
| scores | a feature or token | place, name, score, text |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow

Spec = dict[str, Any]
Floats = npt.NDArray[np.float64]

_BASE: Final[Spec] = {
    "padding": {"left": 0, "top": 4, "right": 6, "bottom": 0},
    "usermeta": {"embedOptions": {"renderer": "canvas"}},
    "config": {"mark": {"aria": False}},
}


_LINES: Final[Spec] = {"mark": {"type": "line", "point": {"size": 28}, "strokeWidth": 1.6}}
# Where something happened: a dashed line over the whole height with its words beside it.
_AXIS_PX: Final = 54
_RULES: Final[list[Spec]] = [
    {
        "data": {"name": "rules"},
        "mark": {"type": "rule", "strokeDash": [4, 3], "color": "#808080"},
        "encoding": {
            "x": {"field": "step", "type": "quantitative"},
            "tooltip": [{"field": "text", "type": "nominal", "title": "here"}],
        },
    },
    {
        "data": {"name": "rules"},
        "mark": {
            **{"type": "text", "align": "left", "baseline": "top", "dx": 4, "y": 2},
            **{"fontSize": 11, "color": "#808080", "tooltip": None, "lineBreak": "\n"},
        },
        "encoding": {"x": {"field": "step", "type": "quantitative"}, "text": {"field": "label", "type": "nominal"}},
    },
]


@lru_cache(maxsize=2)
def nodes_spec(has_names: bool) -> Spec:
    """Return the chart of `nodes`: bars in the order in which operators run, with their names where there is room."""
    encoding = {
        "x": {
            "field": "node",
            "type": "nominal",
            "sort": {"field": "place", "op": "min", "order": "ascending"},
            "axis": {
                "title": "values, in the order in which they are computed",
                "labels": has_names,
                "labelAngle": -40,
                "labelLimit": 120,
                "ticks": False,
            },
        },
        "y": {
            "field": "change",
            "type": "quantitative",
            "axis": {"title": "relative change (L2)", "format": "~g", "tickCount": 5},
        },
        "tooltip": _tips(("module", "module"), ("op", "operator"), ("node", "value"), ("text", "relative change")),
    }
    return {**_BASE, "height": 220, "data": {"name": "nodes"}, "mark": {"type": "bar"}, "encoding": encoding}


def nodes_table(
    change: Floats, nodes: Sequence[str], modules: Sequence[str], ops: Sequence[str], texts: Sequence[str]
) -> pa.Table:
    """Return `nodes`; a change that is not finite has no bar, and its text."""
    return arrow.table(
        {
            "place": arrow.column(np.arange(len(change), dtype=np.int32)),
            "change": arrow.column(np.nan_to_num(change, nan=0, posinf=0), ~np.isfinite(change)),
            "node": arrow.texts(nodes),
            "module": arrow.texts(modules),
            "op": arrow.texts(ops),
            "text": arrow.texts(texts),
        }
    )


@lru_cache(maxsize=64)
def steps_spec(names: tuple[str, ...], title: str, is_share: bool) -> Spec:
    """Return the chart of `steps`: one line for each name; steps are spread as their logarithms are.

    Args:
        names: in the order of the legend.
        title: of the value axis.
        is_share: whether values are probabilities.
    """
    x: Spec = {
        "field": "step",
        "type": "quantitative",
        "scale": {"type": "symlog", "constant": 1, "nice": False},
        "axis": {"title": "step", "format": "~s", "labelOverlap": "greedy", "grid": False},
    }
    marks = {**_LINES, "encoding": _line_encoding(names, x, title, is_share, "step")}
    return {**_BASE, "height": 250, "data": {"name": "steps"}, "layer": [marks, *_RULES]}


@lru_cache(maxsize=64)
def sweep_spec(names: tuple[str, ...], moved: str, title: str, is_share: bool) -> Spec:
    """Return the chart of `steps` whose column `step` is the value of what is moved, evenly spread.

    Args:
        names: in the order of the legend.
        moved: what the x axis is.
        title: of the value axis.
        is_share: whether values are probabilities.
    """
    x: Spec = {
        "field": "step",
        "type": "quantitative",
        "scale": {"zero": False, "nice": False},
        "axis": {"title": moved, "format": "~g", "labelOverlap": "greedy", "grid": False},
    }
    marks = {**_LINES, "encoding": _line_encoding(names, x, title, is_share, moved)}
    return {**_BASE, "height": 280, "data": {"name": "steps"}, "layer": [marks, *_RULES]}


def rules_table(places: Sequence[float], texts: Sequence[str]) -> pa.Table:
    """Return `rules`: vertical lines at some places of the x axis, with what each says, a line of text lower each."""
    return arrow.table(
        {
            "step": arrow.column(np.asarray(places, dtype=np.float64)),
            "text": arrow.texts(texts),
            "label": arrow.texts(["\n" * place + text for place, text in enumerate(texts)]),
        }
    )


def _line_encoding(names: tuple[str, ...], x: Spec, title: str, is_share: bool, moved: str) -> Spec:
    return {
        "x": x,
        "y": {
            "field": "value",
            "type": "quantitative",
            "axis": {"title": title, "tickCount": 5, "format": ".0%" if is_share else "~g"},
            "scale": {"domain": [0, 1]} if is_share else {"zero": False},
        },
        "color": {
            "field": "name",
            "type": "nominal",
            "scale": {"domain": list(names)},
            "legend": {"title": None, "orient": "bottom", "columns": 6},
        },
        "tooltip": [
            {"field": "step", "type": "quantitative", "title": moved, "format": ",~r"},
            *_tips(("name", "output"), ("text", title)),
        ],
    }


def steps_table(steps: npt.NDArray[Any], names: Sequence[str], values: Floats, texts: Sequence[str]) -> pa.Table:
    """Return `steps` of values [steps, names], with a text for each, step after step."""
    flat = values.reshape(-1).astype(np.float64)
    return arrow.table(
        {
            "step": arrow.column(np.repeat(steps, len(names)).astype(np.float64)),
            "name": arrow.texts(list(names) * len(steps)),
            "value": arrow.column(np.nan_to_num(flat, posinf=0, neginf=0), ~np.isfinite(flat)),
            "text": arrow.texts(texts),
        }
    )


@lru_cache(maxsize=64)
def scores_spec(num_rows: int, title: str, colours: tuple[str, str]) -> Spec:
    """Return the chart of `scores`: bars to both sides of 0, in the colours of below and above it."""
    encoding = {
        "y": {
            "field": "name",
            "type": "nominal",
            "sort": {"field": "place", "op": "min", "order": "ascending"},
            "axis": {"title": None, "labelLimit": 150, "labelOverlap": False, "ticks": False},
        },
        "x": {"field": "score", "type": "quantitative", "axis": {"title": title, "format": "~g", "tickCount": 5}},
        "color": {"condition": {"test": "datum.score < 0", "value": colours[0]}, "value": colours[1]},
        "tooltip": _tips(("name", "input"), ("text", "attribution")),
    }
    height = _AXIS_PX + 16 * max(1, num_rows)
    return {**_BASE, "height": height, "data": {"name": "scores"}, "mark": {"type": "bar"}, "encoding": encoding}


def scores_table(names: Sequence[str], scores: Floats) -> pa.Table:
    """Return `scores`, float64[n] for n different names."""
    return arrow.table(
        {
            "place": arrow.column(np.arange(len(names), dtype=np.int32)),
            "name": arrow.texts(names),
            "score": arrow.column(scores.astype(np.float64), ~np.isfinite(scores)),
            "text": arrow.texts([f"{score:.4g}" for score in scores]),
        }
    )


def _tips(*fields: tuple[str, str]) -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": title} for field, title in fields]
