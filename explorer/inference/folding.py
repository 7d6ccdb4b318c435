"""The graph of a program folded to its modules, small enough to be drawn: boxes and the values between them.

A module is drawn as one closed box, or opened: then what is right inside it is drawn, modules again closed or opened.
Boxes stand in the order in which they first run. Neighbours in that order may share a box without making a loop that
is not in the model, which is how a graph of any size fits into a fixed number of boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Literal

from explorer.inference.modules import outwards, parent_of, path_of
from explorer.storage.program import Node, Program, references

PARAMETRIZATIONS: Final = "parametrizations"
"""Name of the module that PyTorch puts into a layer whose weights are computed from others, as by weight_norm."""
MAX_BOXES: Final = 40
MAX_OPENED_AT_FIRST: Final = 24
Kind = Literal["input", "module", "group", "operator", "output"]

# What only looks at a value differently is drawn as a part of whatever computed the value.
_VIEWS: Final = frozenset(
    (
        *("alias", "contiguous", "detach", "expand", "flatten", "getitem", "permute", "reshape", "select", "slice"),
        *("squeeze", "t", "transpose", "unflatten", "unsqueeze", "view", "clone", "_to_copy", "_unsafe_view"),
        *("unbind", "split", "split_with_sizes", "chunk", "tensor_split"),
    )
)


@dataclass(frozen=True)
class Box:
    """Something to draw.

    Attributes:
        id: unique in a graph, and the same in every graph of the program that has it.
        kind: input or output of the model, a module, a group of modules that stand one after the other, or a single
            operator.
        label: short text.
        path: of the module; of the first one of a group; of the module around an operator; of an input or output its
            own path.
        type: class of the module or of all modules of a group; name of the operator.
        nodes: names of the nodes in it, in order.
        parent: path of the opened module that it is drawn in; "" at the top.
        members: the boxes that share this one, in order; none for any other kind than a group.
    """

    id: str
    kind: Kind
    label: str
    path: str
    type: str
    nodes: tuple[str, ...]
    parent: str
    members: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Edge:
    """A value from one box to another: dtype and shape, "" and None where it is no single tensor."""

    source: str
    target: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class FoldedGraph:
    """Boxes in the order in which they first run, the edges between them, and the modules that are drawn opened."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    opened: tuple[str, ...]


def fold(
    program: Program,
    opened: Collection[str] | None = None,
    *,
    kept: Collection[str] = (),
    max_boxes: int = MAX_BOXES,
) -> FoldedGraph:
    """Fold the graph.

    Args:
        program: the model.
        opened: paths of modules whose inside is drawn; one that lies in a closed module is not. None: whole levels of
            the tree from the top, as long as there are at most `MAX_OPENED_AT_FIRST` boxes.
        kept: paths of modules that share no box as long as there is another way.
        max_boxes: so many boxes at most: with more of them, neighbours share one, repeated modules first.
    """
    if opened is None:
        return _grouped(_opened_at_first(program), kept, max_boxes)
    return _grouped(_folded(program, frozenset(opened)), kept, max_boxes)


def _opened_at_first(program: Program) -> FoldedGraph:
    """As many whole levels as fit; a module without modules inside, but for its weights' own, stays closed."""
    inside = {outer for call in program.modules for outer in outwards(call.path) if PARAMETRIZATIONS not in outer}
    holding = {parent_of(outer) for outer in inside} - {""}
    best = _folded(program, frozenset())
    for depth in range(1, 1 + max((path.count(".") + 1 for path in holding), default=0)):
        found = _folded(program, frozenset(path for path in holding if path.count(".") < depth))
        if len(found.boxes) > MAX_OPENED_AT_FIRST:
            break
        best = found
    return best


def _folded(program: Program, opened: frozenset[str]) -> FoldedGraph:
    folding = _Folding(program, opened)
    for found in program.inputs:
        if found.dtype:
            label = found.path.removeprefix("kwargs['").removesuffix("']")
            folding.enter(Box(f"input:{found.path}", "input", label, found.path, "", (), ""), found.name)
    for node in program.graph.nodes:
        box = folding.box_of(node)
        if box is not None:
            folding.enter(box, node.name)
    for path, output in zip(program.output_paths, program.graph.outputs, strict=True):
        box = Box(f"output:{path}", "output", path or "output", path, "", (), "")
        folding.read(box, references(output))
    return folding.graph()


class _Folding:
    """Boxes and edges of a program while its nodes are gone through in order."""

    def __init__(self, program: Program, opened: frozenset[str]) -> None:
        self._program, self._opened = program, opened
        self._types = {call.path: call.type for call in program.modules}
        self._boxes: dict[str, Box] = {}
        self._members: dict[str, list[str]] = {}
        self._place: dict[str, str] = {}
        self._edges: dict[tuple[str, str], Edge] = {}
        self._closed: dict[str, str | None] = {}
        self._drawn: dict[str, None] = {}
        self._facts = {found.name: (found.dtype, found.shape) for found in program.inputs}
        # Sizes and numbers are no values that flow from box to box.
        self._facts |= {node.name: (node.dtype, node.shape or ()) for node in program.graph.nodes if _computes(node)}

    def enter(self, box: Box, name: str) -> None:
        """Put a value into a box."""
        self._boxes.setdefault(box.id, box)
        self._members.setdefault(box.id, []).append(name)
        self._place[name] = box.id
        for outer in outwards(box.parent):
            self._drawn.setdefault(outer)

    def read(self, box: Box, names: Iterator[str]) -> None:
        """Let a box read values; one that reads nothing is not drawn."""
        for name in names:
            source = self._place.get(name)
            if source is not None and source != box.id and name in self._facts:
                self._boxes.setdefault(box.id, box)
                dtype, shape = self._facts[name]
                edge = Edge(source, box.id, dtype, shape if dtype else None)
                self._edges.setdefault((source, box.id), edge)

    def box_of(self, node: Node) -> Box | None:
        """The box of a node; None for what computes no tensor and would only be in the way, such as sizes."""
        path = path_of(self._program, node)
        closed = self._outermost_closed(path)
        if closed is not None:
            label = closed.rpartition(".")[2]
            kind = self._types.get(closed, "")
            return Box(f"module:{closed}", "module", label, closed, kind, (), parent_of(closed))
        if not _computes(node):
            return None
        operator = operator_of(node.op)
        read = [name for name in _read(node) if name in self._place]
        if operator in _VIEWS and read:
            return self._boxes[self._place[read[0]]]
        return Box(f"node:{node.name}", "operator", operator, path, node.op, (), path)

    def graph(self) -> FoldedGraph:
        """What was found."""
        for node in self._program.graph.nodes:
            place = self._place.get(node.name)
            if place is not None and _computes(node):
                self.read(self._boxes[place], _read(node))
        boxes = tuple(replace(box, nodes=tuple(self._members.get(box.id, ()))) for box in self._boxes.values())
        return FoldedGraph(boxes, tuple(self._edges.values()), tuple(self._drawn))

    def _outermost_closed(self, path: str) -> str | None:
        """The outermost module around a node that is not opened; None when the node itself is drawn."""
        if path not in self._closed:
            self._closed[path] = next((outer for outer in outwards(path) if outer not in self._opened), None)
        return self._closed[path]


def operator_of(op: str) -> str:
    """The name of an operator without its namespace and its overload.

    >>> operator_of("aten.linear.default"), operator_of("cond")
    ('linear', 'cond')
    """
    return op.split(".")[1] if "." in op else op


def _computes(node: Node) -> bool:
    """Whether the value is a tensor or several of them; sizes, their arithmetic and checks are none."""
    if node.dtype or node.op == "cond":
        return True
    operator = operator_of(node.op)
    is_size = operator.startswith(("sym_", "_assert", "_local_scalar")) or operator == "item"
    return not node.op.startswith(("operator.", "math.", "torch.")) and not is_size


def _read(node: Node) -> Iterator[str]:
    yield from references(node.args)
    yield from references(tuple(node.kwargs.values()))


def _grouped(graph: FoldedGraph, kept: Collection[str], max_boxes: int) -> FoldedGraph:
    """Neighbours in one box where there are too many; inputs and outputs stay."""
    alone = {outer for path in kept for outer in outwards(path)}

    def repeats(one: Box, other: Box) -> bool:
        alike = one.kind == other.kind == "module" and (one.type, one.parent) == (other.type, other.parent)
        return alike and not {one.path, other.path} & alone

    def beside(one: Box, other: Box) -> bool:
        return one.parent == other.parent and not {one.path, other.path} & alone

    for may_share in (repeats, beside, lambda one, other: True):
        if len(graph.boxes) > max_boxes:
            graph = _shared(graph, may_share, max_boxes)
    return graph


def _shared(graph: FoldedGraph, may_share: Callable[[Box, Box], bool], max_boxes: int) -> FoldedGraph:
    """The longest rows of boxes that may share one do, until there are few enough or no such rows are left."""
    rows = _rows([box for box in graph.boxes if box.kind not in ("input", "output")], may_share)
    too_many = len(graph.boxes) - max_boxes
    stands: dict[str, Box] = {}
    for row in sorted(rows, key=len, reverse=True):
        if too_many <= 0:
            break
        # Only as few boxes share one as it takes, for a row that would leave room.
        left = max(1, len(row) - too_many)
        each = ceil(len(row) / left)
        for start in range(0, len(row), each):
            part = row[start : start + each]
            if len(part) > 1:
                stands |= dict.fromkeys([box.id for box in part], _group(part))
                too_many -= len(part) - 1
    boxes = {stands.get(box.id, box).id: stands.get(box.id, box) for box in graph.boxes}
    edges: dict[tuple[str, str], Edge] = {}
    for edge in graph.edges:
        source, target = (stands[end].id if end in stands else end for end in (edge.source, edge.target))
        if source != target:
            edges.setdefault((source, target), replace(edge, source=source, target=target))
    return FoldedGraph(tuple(boxes.values()), tuple(edges.values()), graph.opened)


def _rows(boxes: Sequence[Box], may_share: Callable[[Box, Box], bool]) -> list[list[Box]]:
    rows: list[list[Box]] = []
    for box in boxes:
        if rows and may_share(rows[-1][-1], box):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [row for row in rows if len(row) > 1]


def _group(row: Sequence[Box]) -> Box:
    members = tuple(member for box in row for member in (box.members or (box,)))
    types = {member.type for member in members}
    return Box(
        id=f"group:{members[0].id}",
        kind="group",
        label=f"{members[0].label} … {members[-1].label}",
        path=members[0].path,
        type=types.pop() if len(types) == 1 else "",
        nodes=tuple(name for member in members for name in member.nodes),
        parent=_common([member.parent for member in members]),
        members=members,
    )


def _common(paths: Sequence[str]) -> str:
    """The innermost module around all of them."""
    around: Mapping[str, None] = dict.fromkeys(outwards(paths[0]))
    for path in paths[1:]:
        around = {outer: None for outer in outwards(path) if outer in around}
    return next(reversed(tuple(around)), "")
