"""What the Model page can be taken away as: the graph as PNG and SVG, the tree as CSV, and the lines that read it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from explorer.app import model_drawing
from explorer.app.colours import LIGHT, LIGHT_RAMP
from explorer.app.csv_text import harmless
from explorer.app.export_menu import Export, export_menu
from explorer.app.model_shapes import shape_text
from explorer.charts.export import standalone

if TYPE_CHECKING:
    from explorer.app.model_paint import Painting
    from explorer.app.model_source import Architecture, ModuleRow
    from explorer.app.model_timing import Times
    from explorer.charts.graph_picture import GraphPicture
    from explorer.inference.folding import FoldedGraph
    from explorer.reading.catalogue import RunInfo

_BESIDE_PX = 120  # title, what is drawn, and the colour scale


def graph_menu(
    info: RunInfo,
    title: str,
    caption: str,
    model: Architecture,
    graph: FoldedGraph,
    drawn: GraphPicture,
    painted: Painting,
) -> None:
    """Draw the button that opens the exports of the graph; nothing is made before it is opened."""

    def picture() -> dict[str, Any]:
        colours = model_drawing.colours(graph, painted, False)
        spec = model_drawing.spec(drawn, painted, colours, False)
        tables = model_drawing.tables(model, graph, painted, False, "")
        return standalone(spec, tables, LIGHT, LIGHT_RAMP, title, caption, int(drawn.bounds.bottom) + _BESIDE_PX)

    export_menu(
        Export(
            name="model_graph",
            stem=f"graph {info.run_id}",
            spec=picture,
            table=lambda: tree_csv(list(model.rows.values()), model, painted, None),
            about_table="Every module of the model with what is painted",
            code=lambda: lines(info),
        )
    )


def tree_csv(rows: Sequence[ModuleRow], model: Architecture, painted: Painting, times: Times | None) -> bytes:
    """Return one line for each module: every digit; empty where nothing is known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [
        "module",
        "type",
        "calls",
        "operators",
        "output_shape",
        "output_dtype",
        "parameters",
        "buffers",
        "frozen",
    ]
    columns += ["own_tensors", "tied_to", "self_ms", "total_ms", harmless(painted.title) or "painted", "of_tensor"]
    writer.writerow(columns)
    for row in rows:
        value = painted.values.get(row.path)
        own = "; ".join(f"{weight.name} {weight.dtype} {list(weight.shape)}" for weight in row.weights)
        tied = "; ".join(name for weight in row.weights for name in weight.tied)
        shapes = ", ".join(shape_text(shape, model.sizes) for shape in row.shapes)
        numbers = [row.num_parameters, row.num_buffers, "" if row.num_frozen is None else row.num_frozen]
        spent = [_digits(None if times is None else part.get(row.path)) for part in _parts(times)]
        writer.writerow(
            [
                harmless(row.path), harmless(row.type), _count(row.num_calls), _count(row.num_nodes), shapes,
                " ".join(row.dtypes), *numbers, harmless(own), harmless(tied), *spent,
                _digits(None if value is None else value.value), harmless("" if value is None else value.of),
            ]
        )  # fmt: skip
    return out.getvalue().encode("utf-8", "replace")


def lines(info: RunInfo) -> str:
    """Return Python that reads the same modules."""
    return "\n".join(
        [
            "from explorer import open_run",
            "from explorer.inference.folding import fold",
            "from explorer.inference.modules import module_tree",
            "",
            f"program = open_run({str(info.path)!r}).program",
            "for path, module in module_tree(program).items():",
            "    print(path, module.type, module.num_parameters, module.output_shapes)",
            "for box in fold(program).boxes:",
            "    print(box.kind, box.label, box.type)",
        ]
    )


def _parts(times: Times | None) -> Sequence[Any]:
    return ({}, {}) if times is None else (times.self_ms, times.total_ms)


def _digits(value: float | None) -> str:
    return "" if value is None else repr(value)


def _count(number: int | None) -> str:
    return "" if number is None else str(number)
