"""A captured model as plain data: operators, arguments and names. Nothing here runs anything.

The document is a list of nodes in the order in which they run. A node names one operator and its arguments; an
argument is a number, a text, a flag, nothing, a list of arguments, or an object with one key:

    {"node": name}                    the value of an earlier node
    {"float": "nan" | "inf" | "-inf"}
    {"complex": [real, imaginary]}
    {"slice": [start, stop, step]}
    {"dtype": "float32"}  {"layout": "strided"}  {"memory_format": "contiguous_format"}  {"device": true}
    {"graph": {"inputs", "nodes", "outputs"}}   a branch of `cond`

`parse_program` accepts nothing else, so that whoever runs a program needs to decide only which operators are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from explorer.errors import ProgramError

MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 24
MAX_TEXT: Final = 2_000
MAX_RANK: Final = 64
ROUTES: Final = ("export", "export-guards", "strict", "tape")
ROLES: Final = ("param", "buffer", "constant")

Route = Literal["export", "export-guards", "strict", "tape"]
Dim = int | str
Shape = tuple[Dim, ...]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,199}", re.ASCII)
_OP = re.compile(r"[a-z_][a-z0-9_]{0,40}(\.[A-Za-z0-9_]{1,80}){1,2}|cond", re.ASCII)
_FLOATS: Final = ("nan", "inf", "-inf")
_NAMED_VALUES: Final = ("dtype", "layout", "memory_format")


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
    """A tensor that the program reads: `name` in a snapshot (param, buffer) or among the constants."""

    name: str
    role: str


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


def parse_program(document: Mapping[str, Any]) -> Program:
    """Check a document as `program_file` reads it.

    Raises:
        ProgramError: it is not a program as the module describes it; the message says where.
    """
    modules = tuple(_module(found) for found in _list(document, "modules"))
    inputs = tuple(_input(found) for found in _list(document, "inputs"))
    weights = {_name(name): _weight(found) for name, found in _mapping(document, "weights").items()}
    names = (*(found.name for found in inputs), *weights)
    counter = _Counter()
    graph = _graph({**_mapping(document, "graph"), "inputs": list(names)}, modules, counter, 0)
    paths = tuple(_text(path, "output path") for path in _list(document, "output_paths"))
    if len(paths) != len(graph.outputs):
        raise ProgramError(f"has {len(graph.outputs)} outputs and names for {len(paths)}")
    return Program(
        route=_one_of(document.get("route"), ROUTES, "route"),
        why=tuple((_text(route, "route"), _text(reason, "reason")) for route, reason in _pairs(document, "why")),
        torch=_text(document.get("torch"), "version of torch"),
        step=_optional_int(document.get("step"), "step"),
        autocast=_text(document.get("autocast", ""), "autocast"),
        inputs=inputs,
        symbols={_name(name): _range(found) for name, found in _mapping(document, "symbols").items()},
        weights=weights,
        ties=tuple(tuple(_text(name, "tie") for name in _as_list(tie, "tie")) for tie in _list(document, "ties")),
        graph=graph,
        output_paths=paths,
        modules=modules,
        check={_text(path, "output path"): _difference(found) for path, found in _mapping(document, "check").items()},
    )


class _Counter:
    nodes = 0


def _graph(found: Mapping[str, Any], modules: Sequence[ModuleCall], counter: _Counter, depth: int) -> Graph:
    inputs = tuple(_name(name) for name in _list(found, "inputs"))
    known = set(inputs)
    if len(known) != len(inputs):
        raise ProgramError("names two inputs alike")
    nodes = []
    for entry in _list(found, "nodes"):
        counter.nodes += 1
        if counter.nodes > MAX_NODES:
            raise ProgramError(f"has more than {MAX_NODES:,} nodes")
        node = _node(entry, known, modules, counter, depth)
        nodes.append(node)
        known.add(node.name)
    outputs = _list(found, "outputs")
    _check_argument(outputs, known, modules, counter, depth, "output")
    return Graph(inputs, tuple(nodes), tuple(outputs))


def _node(entry: object, known: set[str], modules: Sequence[ModuleCall], counter: _Counter, depth: int) -> Node:
    if not isinstance(entry, dict):
        raise ProgramError(f"has a node that is a {type(entry).__name__}")
    name = _name(entry.get("name"))
    if name in known:
        raise ProgramError(f"names two nodes {name}")
    op = entry.get("op")
    if not isinstance(op, str) or _OP.fullmatch(op) is None:
        raise ProgramError(f"node {name} has no operator's name")
    args, kwargs = entry.get("args", []), entry.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ProgramError(f"node {name} has arguments of a wrong kind")
    _check_argument(args, known, modules, counter, depth, name)
    for key, value in kwargs.items():
        _name(key)
        _check_argument(value, known, modules, counter, depth, name)
    module = _optional_int(entry.get("module"), "module")
    if module is not None and not 0 <= module < len(modules):
        raise ProgramError(f"node {name} belongs to a module that is not listed")
    expect = entry.get("expect")
    if expect is not None and not isinstance(expect, bool | int | float):
        raise ProgramError(f"node {name} expects a {type(expect).__name__}")
    shape = entry.get("shape")
    return Node(
        name=name,
        op=op,
        args=tuple(args),
        kwargs=kwargs,
        module=module,
        source=_text(entry.get("source", ""), "source"),
        dtype=_text(entry.get("dtype", ""), "dtype"),
        shape=None if shape is None else _shape(shape),
        expect=expect,
    )


def _check_argument(
    found: object, known: set[str], modules: Sequence[ModuleCall], counter: _Counter, depth: int, where: str
) -> None:
    """Raise ProgramError unless this is an argument as the module's text describes it."""
    if depth > MAX_DEPTH:
        raise ProgramError(f"nests the arguments of {where} more than {MAX_DEPTH} deep")
    if found is None or isinstance(found, bool | int | float):
        return
    if isinstance(found, str):
        _text(found, f"argument of {where}")
        return
    if isinstance(found, list):
        for part in found:
            _check_argument(part, known, modules, counter, depth + 1, where)
        return
    if not isinstance(found, dict) or len(found) != 1:
        raise ProgramError(f"has an argument of {where} that is none")
    ((key, value),) = found.items()
    if key == "node":
        if not isinstance(value, str) or value not in known:
            raise ProgramError(f"{where} reads a node that does not come before it")
    elif key == "float":
        _one_of(value, _FLOATS, f"number of {where}")
    elif key in ("complex", "slice"):
        parts = _as_list(value, where)
        if len(parts) != (2 if key == "complex" else 3):
            raise ProgramError(f"{where} has a {key} of {len(parts)} parts")
        for part in parts:
            _check_argument(part, known, modules, counter, depth + 1, where)
    elif key in _NAMED_VALUES:
        _name(value)
    elif key == "graph":
        if not isinstance(value, dict):
            raise ProgramError(f"{where} has a branch that is a {type(value).__name__}")
        _graph(value, modules, counter, depth + 1)
    elif key != "device" or value is not True:
        raise ProgramError(f"has an argument of {where} of an unknown kind")


def _module(found: object) -> ModuleCall:
    entry = _dict(found, "module")
    call = _optional_int(entry.get("call", 0), "call") or 0
    return ModuleCall(_text(entry.get("path"), "module path"), _text(entry.get("type"), "module type"), call)


def _input(found: object) -> Input:
    entry = _dict(found, "input")
    value = entry.get("value")
    _check_argument(value, set(), (), _Counter(), 0, "input")
    return Input(
        name=_name(entry.get("name")),
        path=_text(entry.get("path"), "input path"),
        dtype=_text(entry.get("dtype", ""), "dtype"),
        shape=_shape(entry.get("shape", [])),
        value=value,
    )


def _weight(found: object) -> Weight:
    entry = _dict(found, "weight")
    return Weight(_text(entry.get("name"), "name of a weight"), _one_of(entry.get("role"), ROLES, "role"))


def _shape(found: object) -> Shape:
    dims = _as_list(found, "shape")
    if len(dims) > MAX_RANK:
        raise ProgramError(f"has a shape of {len(dims)} dimensions")
    for dim in dims:
        if isinstance(dim, str):
            _text(dim, "dimension")
        elif isinstance(dim, bool) or not isinstance(dim, int) or dim < 0:
            raise ProgramError("has a dimension that is no size")
    return tuple(dims)


def _range(found: object) -> tuple[int, int | None]:
    ends = _as_list(found, "range of a size")
    if len(ends) != 2:
        raise ProgramError("has a range of a size without two ends")
    return _optional_int(ends[0], "lowest size") or 0, _optional_int(ends[1], "highest size")


def _difference(found: object) -> float | None:
    if found is None:
        return None
    if isinstance(found, str):
        return float(_one_of(found, _FLOATS, "difference"))
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ProgramError("has a difference that is no number")
    return float(found)


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    return _as_list(document.get(key, []), key)


def _as_list(found: object, what: str) -> list[Any]:
    if not isinstance(found, list):
        raise ProgramError(f"has a {what} that is a {type(found).__name__}, not a list")
    return found


def _pairs(document: Mapping[str, Any], key: str) -> list[list[Any]]:
    found = _list(document, key)
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in found):
        raise ProgramError(f"has an entry of {key} that is no pair")
    return found


def _dict(found: object, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ProgramError(f"has a {what} that is a {type(found).__name__}")
    return found


def _mapping(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    return _dict(document.get(key, {}), key)


def _name(found: object) -> str:
    if not isinstance(found, str) or _NAME.fullmatch(found) is None:
        raise ProgramError(f"has a name that is none ({str(found)[:60]!r})")
    return found


def _text(found: object, what: str) -> str:
    if not isinstance(found, str) or len(found) > MAX_TEXT:
        raise ProgramError(f"has a {what} that is no text of at most {MAX_TEXT:,} characters")
    return found


def _one_of(found: object, known: Sequence[str], what: str) -> Any:  # noqa: ANN401 - one of `known`
    if found not in known:
        raise ProgramError(f"has the {what} {str(found)[:60]!r}; known are {', '.join(known)}")
    return found


def _optional_int(found: object, what: str) -> int | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int):
        raise ProgramError(f"has a {what} that is no integer")
    return found
