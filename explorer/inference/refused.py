"""Which operators of a program would not be run, told by their names alone: no PyTorch is needed to draw a program."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.programs.allowed import is_refused
from explorer.storage.program import Graph, Node, Program


def refused_operators(program: Program) -> dict[str, str]:
    """Operators that are not on the list, by name in the order of the program, with the line of the first; "" unknown.

    Empty for everything that the recorder writes: it checks the same list when it captures.
    """
    found: dict[str, str] = {}
    for node in _nodes(program.graph):
        if is_refused(node.op, in_place=program.route == "tape"):
            found.setdefault(node.op, node.source)
    return found


def _nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for argument in node.args:
            if isinstance(argument, Graph):
                yield from _nodes(argument)
