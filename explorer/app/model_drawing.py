"""The chart of a model's graph: made once for what is opened, painted and looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from explorer.app import model_boxes
from explorer.app.distributions_data import kept
from explorer.app.model_paint import NOTHING, Painting, Scale, scale
from explorer.charts import arrow
from explorer.charts.graph import graph_spec, graph_tables
from explorer.charts.graph_picture import GraphPicture, draw

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture
    from explorer.inference.folding import FoldedGraph


def picture(model: Architecture, graph: FoldedGraph, painted: Painting) -> GraphPicture:
    """Return where everything is."""

    def make() -> GraphPicture:
        number = {box.id: k for k, box in enumerate(graph.boxes)}
        edges = [(number[edge.source], number[edge.target]) for edge in graph.edges]
        return draw(model_boxes.items(model, graph, painted), edges, model_boxes.frames(model, graph))

    return kept(("model picture", model, graph, painted), make)


def colours(graph: FoldedGraph, painted: Painting, dark: bool) -> Scale | None:
    """Return the scale of what is painted, for the boxes that are drawn."""
    if painted.key == NOTHING:
        return None
    values = [value.value for box in graph.boxes if (value := model_boxes.value_of(box, painted)) is not None]
    return scale(painted, values, dark)


def spec(drawn: GraphPicture, painted: Painting, found: Scale | None, dark: bool) -> dict[str, Any]:
    """Return the specification of the chart; do not change it."""
    titles = ("name", "type", "output", "parameters", painted.title)
    paint = None if found is None else found.paint(painted.title)
    look = model_boxes.DARK_LOOK if dark else model_boxes.LIGHT_LOOK
    return graph_spec(int(drawn.bounds.bottom), look, titles, paint)


def tables(model: Architecture, graph: FoldedGraph, painted: Painting, dark: bool, chosen: str) -> dict[str, pa.Table]:
    """Return the tables of the chart; `chosen` is the key of the box or frame that is looked at."""
    found = colours(graph, painted, dark)
    return graph_tables(
        picture(model, graph, painted),
        model_boxes.shades(graph, painted, found, dark),
        model_boxes.tips(model, graph, painted),
        None if found is None else (found.low, found.high),
        chosen,
    )


def datasets(model: Architecture, graph: FoldedGraph, painted: Painting, dark: bool, chosen: str) -> dict[str, bytes]:
    """Return the tables as they are sent."""
    return kept(
        ("model graph", model, graph, painted, dark, chosen),
        lambda: {name: arrow.ipc(found) for name, found in tables(model, graph, painted, dark, chosen).items()},
    )
