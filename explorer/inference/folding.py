"""The graph of a program folded to its modules, small enough to be drawn: boxes and the values between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Literal

from explorer.inference.modules import parent_of, path_of
from explorer.storage.program import Node, Program, references

MAX_BOXES: Final = 40
MAX_DEPTH: Final = 12
Kind = Literal["input", "module", "operator", "output"]

# What only looks at a value differently is drawn as a part of whatever computed the value.
_VIEWS: Final = frozenset(
    (
        *("alias", "contiguous", "detach", "expand", "flatten", "getitem", "permute", "reshape", "select", "slice"),
        *("squeeze", "t", "transpose", "unflatten", "unsqueeze", "view", "clone", "_to_copy", "_unsafe_view"),
    )
)


@dataclass(frozen=True)
class Box:
    """Something to draw.

    Attributes:
        id: unique in a graph.
        kind: input or output of the model, a module, or a single operator.
        label: short text.
        path: of the module; of the module around an operator; of an input or output its own path.
        type: class of the module, or name of the operator.
        nodes: names of the nodes in it, in order.
        parent: path of the opened module that it is drawn in; "" at the top.
    """

    id: str
    kind: Kind
    label: str
    path: str
    type: str
    nodes: tuple[str, ...]
    parent: str


@dataclass(frozen=True)
class Edge:
    """A value from one box to another: dtype and shape, "" and None where it is no single tensor."""

    source: str
    target: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class FoldedGraph:
    """Boxes in the order in which they first run, and edges between them; `depth` is that of the modules shown."""

    depth: int
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


def fold(
    program: Program, *, depth: int | None = None, opened: Collection[str] = (), max_boxes: int = MAX_BOXES
) -> FoldedGraph:
    """Fold the graph.

    Args:
        program: the model.
        depth: modules of this depth are closed boxes, 1 for those right below the model; by default as deep as
            `max_boxes` allows.
        opened: paths of modules to show the inside of, one level further.
        max_boxes: so many boxes at most; where even depth 1 has more, neighbours share a box.
    """
    if depth is not None:
        return _merged(_folded(program, depth, opened), max_boxes)
    best = _folded(program, 1, opened)
    for deeper in range(2, MAX_DEPTH + 1):
        found = _folded(program, deeper, opened)
        if len(found.boxes) > max_boxes:
            break
        best = found if len(found.boxes) > len(best.boxes) else best
    return _merged(best, max_boxes)


def _folded(program: Program, depth: int, opened: Collection[str]) -> FoldedGraph:
    boxes: dict[str, Box] = {}
    members: dict[str, list[str]] = {}
    place: dict[str, str] = {}

    def enter(box: Box, name: str) -> None:
        boxes.setdefault(box.id, box)
        members.setdefault(box.id, []).append(name)
        place[name] = box.id

    for found in program.inputs:
        if found.dtype:
            enter(Box(f"input:{found.path}", "input", found.path, found.path, "", (), ""), found.name)
    for node in program.graph.nodes:
        box = _box(program, node, depth, opened, boxes, place)
        if box is not None:
            enter(box, node.name)
    edges = _edges(program, place)
    for path, output in zip(program.output_paths, program.graph.outputs, strict=True):
        sources = dict.fromkeys(place[name] for name in references(output) if name in place)
        if sources:
            box = Box(f"output:{path}", "output", path or "output", path, "", (), "")
            boxes[box.id] = box
            facts = _facts(program)
            edges |= {
                (place[name], box.id): Edge(place[name], box.id, *facts[name])
                for name in references(output)
                if name in place
            }
    drawn = tuple(replace(box, nodes=tuple(members.get(box.id, ()))) for box in boxes.values())
    return FoldedGraph(depth, drawn, tuple(edges.values()))


def _box(
    program: Program,
    node: Node,
    depth: int,
    opened: Collection[str],
    boxes: Mapping[str, Box],
    place: Mapping[str, str],
) -> Box | None:
    """The box of a node; None for what computes no tensor and would only be in the way, such as sizes."""
    path = path_of(program, node)
    closed = _closed(path, depth, opened)
    if closed is not None:
        kind = next((call.type for call in program.modules if call.path == closed), "")
        label = closed.rpartition(".")[2]
        return Box(f"module:{closed}", "module", label, closed, kind, (), _drawn_in(closed, opened))
    read = [name for name in (*references(node.args), *references(tuple(node.kwargs.values()))) if name in place]
    operator = node.op.split(".")[1] if "." in node.op else node.op
    if (operator in _VIEWS or node.dtype == "") and read and operator != "cond":
        producer = boxes[place[read[0]]]
        return producer if node.dtype or operator == "getitem" else None
    if node.dtype == "" and operator != "cond" and not read:
        return None
    return Box(f"node:{node.name}", "operator", operator, path, node.op, (), _drawn_in(f"{path}.", opened))


def _closed(path: str, depth: int, opened: Collection[str]) -> str | None:
    """The outermost module around a node that is drawn closed; None when the node itself is drawn."""
    parts = path.split(".") if path else []
    for count in range(min(depth, len(parts)), len(parts) + 1):
        outer = ".".join(parts[:count])
        if count >= depth and outer not in opened:
            return outer
    return None


def _drawn_in(path: str, opened: Collection[str]) -> str:
    outer = parent_of(path)
    while outer and outer not in opened:
        outer = parent_of(outer)
    return outer


def _facts(program: Program) -> dict[str, tuple[str, tuple[int | str, ...] | None]]:
    facts: dict[str, tuple[str, tuple[int | str, ...] | None]] = {
        found.name: (found.dtype, found.shape) for found in program.inputs
    }
    return facts | {node.name: (node.dtype, node.shape) for node in program.graph.nodes}


def _edges(program: Program, place: Mapping[str, str]) -> dict[tuple[str, str], Edge]:
    facts = _facts(program)
    edges: dict[tuple[str, str], Edge] = {}
    for node in program.graph.nodes:
        target = place.get(node.name)
        for name in (*references(node.args), *references(tuple(node.kwargs.values()))):
            source = place.get(name)
            if source is not None and target is not None and source != target and facts[name][0]:
                edges.setdefault((source, target), Edge(source, target, *facts[name]))
    return edges


def _merged(graph: FoldedGraph, max_boxes: int) -> FoldedGraph:
    """Neighbours in one box where there are too many; inputs and outputs stay."""
    inner = [box for box in graph.boxes if box.kind in ("module", "operator")]
    room = max(1, max_boxes - (len(graph.boxes) - len(inner)))
    if len(inner) <= room:
        return graph
    per_box = ceil(len(inner) / room)
    stands: dict[str, Box] = {}
    for start in range(0, len(inner), per_box):
        parts = inner[start : start + per_box]
        names = tuple(name for part in parts for name in part.nodes)
        label = parts[0].label if len(parts) == 1 else f"{parts[0].label} … {parts[-1].label}"
        stands |= dict.fromkeys([part.id for part in parts], replace(parts[0], label=label, nodes=names))
    boxes = {(stands.get(box.id, box)).id: stands.get(box.id, box) for box in graph.boxes}
    edges: dict[tuple[str, str], Edge] = {}
    for edge in graph.edges:
        source, target = (stands[end].id if end in stands else end for end in (edge.source, edge.target))
        if source != target:
            edges.setdefault((source, target), replace(edge, source=source, target=target))
    return FoldedGraph(graph.depth, tuple(boxes.values()), tuple(edges.values()))
