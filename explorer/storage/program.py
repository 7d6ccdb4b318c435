"""A captured model as plain data: operators, arguments and names. Nothing here runs anything.

The document is a list of nodes in the order in which they run. A node names one operator and its arguments; an
argument is a number, a text, a flag, nothing, a list of arguments, or an object with one key:

    {"node": name}                    the value of an earlier node
    {"float": "nan" | "inf" | "-inf"}
    {"complex": [real, imaginary]}
    {"slice": [start, stop, step]}
    {"dtype": "float32"}  {"layout": "strided"}  {"memory_format": "contiguous_format"}  {"device": true}
    {"graph": {"inputs", "nodes", "outputs"}}   a branch of `cond`; once parsed, {"graph": Graph}

`program_document.parse_program` accepts nothing else, so that whoever runs a program needs to decide only which
operators are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

ROUTES: Final = ("export", "export-guards", "strict", "tape")
ROLES: Final = ("param", "buffer", "constant")

Route = Literal["export", "export-guards", "strict", "tape"]
Dim = int | str
Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator call.

    Attributes:
        name: unique in the program.
        op: `namespace.operator.overload`, a named Python function such as `operator.getitem`, or `cond`.
        args, kwargs: encoded arguments; see the module.
        module: index into `Program.modules` of the innermost module that the call belongs to, or None.
        source: `file.py:55`, the author's line, or "".
        dtype: of the value, such as `float32`; "" where the value is no single tensor.
        shape: of the value; a text is the name of a size that may vary; None where it is no single tensor.
        expect: what a tape saw here; the value must be the same again. None: nothing to check.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    module: int | None
    source: str
    dtype: str
    shape: Shape | None
    expect: bool | int | float | None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes with inputs and outputs: the program itself, or a branch of `cond`. Outputs are encoded arguments."""

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """What the model is called with; `value` is what was passed where it was no tensor, and then `dtype` is ""."""

    name: str
    path: str
    dtype: str
    shape: Shape
    value: Any


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that the program reads: `name` in a snapshot (param, buffer) or among the constants.

    `dtype` and `shape` are those at capture.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """A module of the model: its path ("" is the model), its class's name, and the how-manieth call of it this is."""

    path: str
    type: str
    call: int


@dataclass(frozen=True, slots=True)
class Program:
    """A model's computation in evaluation mode.

    Attributes:
        route: how it was captured. `tape`: one recorded path with the sizes of the example.
        why: (route, reason) of each earlier route that failed.
        torch: the version that captured it.
        step: the step at capture, or None.
        autocast: the dtype that the training casts to, or "".
        inputs: in the order of the call.
        symbols: name of a size that may vary to (lowest, highest or None).
        weights: placeholder name to what it is.
        ties: names that are one tensor.
        graph: its inputs are those of the call, then the weights' placeholders.
        output_paths: one for each output of the graph, such as `['logits']`; "" for a model with a single output.
        modules: by the index that nodes use.
        fingerprint: of the weights at capture, see `programs.fingerprint`; None when it is not known.
        check: largest difference from the model's own outputs at capture, by output path; None where not checked.
    """

    route: Route
    why: tuple[tuple[str, str], ...]
    torch: str
    step: int | None
    autocast: str
    inputs: tuple[Input, ...]
    symbols: Mapping[str, tuple[int, int | None]]
    weights: Mapping[str, Weight]
    ties: tuple[tuple[str, ...], ...]
    graph: Graph
    output_paths: tuple[str, ...]
    modules: tuple[ModuleCall, ...]
    fingerprint: int | None
    check: Mapping[str, float | None]


def references(argument: object) -> Iterator[str]:
    """Names of the nodes that an encoded argument reads, in order, with repeats; branches of `cond` read none."""
    if isinstance(argument, dict):
        if "node" in argument:
            yield argument["node"]
        elif "slice" in argument:
            yield from references(argument["slice"])
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from references(part)
