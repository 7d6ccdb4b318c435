"""Read a program's document: everything in it is checked here, before anything of it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from explorer.errors import ProgramError
from explorer.storage.program import ROLES, ROUTES, Graph, Input, ModuleCall, Node, Program, Shape, Weight

MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 32
MAX_TEXT: Final = 2_000
MAX_RANK: Final = 64
MAX_INTEGER: Final = 2**64

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,199}", re.ASCII)
_OP = re.compile(r"[a-z_][a-z0-9_]{0,40}(\.[A-Za-z0-9_]{1,80}){1,2}|cond", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_FLOATS: Final = ("nan", "inf", "-inf")
_Number = TypeVar("_Number", bound=bool | int | float)
_NAMED_VALUES: Final = ("dtype", "layout", "memory_format")


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
        why=parse_reasons(document),
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
        fingerprint=_optional_int(document.get("fingerprint"), "fingerprint"),
        check={_text(path, "output path"): _difference(found) for path, found in _mapping(document, "check").items()},
    )


def parse_reasons(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(route, reason) of each route that failed. Raises ProgramError."""
    return tuple((_text(route, "route"), _text(reason, "reason")) for route, reason in _pairs(document, "why"))


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
    outputs = _Arguments(known, modules, counter, "the outputs").read(_list(found, "outputs"), depth)
    return Graph(inputs, tuple(nodes), tuple(outputs))


def _node(found: object, known: set[str], modules: Sequence[ModuleCall], counter: _Counter, depth: int) -> Node:
    entry = _dict(found, "node")
    name = _name(entry.get("name"))
    if name in known:
        raise ProgramError(f"names two nodes {name}")
    op = entry.get("op")
    if not isinstance(op, str) or _OP.fullmatch(op) is None:
        raise ProgramError(f"node {name} has no operator's name")
    arguments = _Arguments(known, modules, counter, f"node {name}")
    module = _optional_int(entry.get("module"), "module")
    if module is not None and not 0 <= module < len(modules):
        raise ProgramError(f"node {name} belongs to a module that is not listed")
    shape = entry.get("shape")
    return Node(
        name=name,
        op=op,
        args=tuple(arguments.read(_list(entry, "args"), depth)),
        kwargs={_name(key): arguments.read(value, depth) for key, value in _mapping(entry, "kwargs").items()},
        module=module,
        source=_text(entry.get("source", ""), "source"),
        dtype=_text(entry.get("dtype", ""), "dtype"),
        shape=None if shape is None else _shape(shape),
        expect=_expected(entry.get("expect"), name),
    )


def _expected(found: object, name: str) -> bool | int | float | None:
    if isinstance(found, dict) and found.keys() == {"float"}:
        return float(_one_of(found["float"], _FLOATS, "expected number"))
    if found is not None and not isinstance(found, bool | int | float):
        raise ProgramError(f"node {name} expects a {type(found).__name__}")
    return None if found is None else _within_64_bits(found, f"value that node {name} expects")


class _Arguments:
    """Reads arguments as `storage.program` describes them; `known` are the nodes that may be read."""

    def __init__(self, known: set[str], modules: Sequence[ModuleCall], counter: _Counter, where: str) -> None:
        self._known, self._modules, self._counter, self._where = known, modules, counter, where

    def read(self, found: Any, depth: int) -> Any:  # noqa: ANN401 - any argument
        """The argument, with branches of `cond` as graphs. Raises ProgramError for what is none."""
        if depth > MAX_DEPTH:
            raise ProgramError(f"nests the arguments of {self._where} more than {MAX_DEPTH} deep")
        if found is None or isinstance(found, bool):
            return found
        if isinstance(found, int | float):
            if not math.isfinite(_within_64_bits(found, f"number in {self._where}")):
                raise ProgramError(f"{self._where} has a number that is none")
            return found
        if isinstance(found, str):
            return _text(found, f"text in {self._where}")
        if isinstance(found, list):
            return [self.read(part, depth + 1) for part in found]
        if not isinstance(found, dict) or len(found) != 1:
            raise ProgramError(f"{self._where} has an argument that is none")
        ((key, value),) = found.items()
        return {key: self._member(key, value, depth + 1)}

    def _member(self, key: str, value: Any, depth: int) -> Any:  # noqa: ANN401
        if key == "node":
            if not isinstance(value, str) or value not in self._known:
                raise ProgramError(f"{self._where} reads a node that does not come before it")
        elif key == "float":
            _one_of(value, _FLOATS, f"number of {self._where}")
        elif key in ("complex", "slice"):
            value = self.read(_as_list(value, key), depth)
            if len(value) != (2 if key == "complex" else 3):
                raise ProgramError(f"{self._where} has a {key} of {len(value)} parts")
            if key == "complex" and not all(map(_is_part_of_complex, value)):
                raise ProgramError(f"{self._where} has a complex number of other parts than two numbers")
        elif key in _NAMED_VALUES:
            _name(value)
        elif key == "graph":
            return _graph(_dict(value, "branch"), self._modules, self._counter, depth)
        elif key != "device" or value is not True:
            raise ProgramError(f"{self._where} has an argument of an unknown kind")
        return value


def _is_part_of_complex(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, dict) and value.keys() == {"float"})


def _module(found: object) -> ModuleCall:
    entry = _dict(found, "module")
    call = _optional_int(entry.get("call", 0), "call") or 0
    return ModuleCall(_text(entry.get("path"), "module path"), _text(entry.get("type"), "module type"), call)


def _input(found: object) -> Input:
    entry = _dict(found, "input")
    value = _Arguments(set(), (), _Counter(), "an input").read(entry.get("value"), 0)
    return Input(
        name=_name(entry.get("name")),
        path=_text(entry.get("path"), "input path"),
        dtype=_text(entry.get("dtype", ""), "dtype"),
        shape=_shape(entry.get("shape", [])),
        value=value,
    )


def _weight(found: object) -> Weight:
    entry = _dict(found, "weight")
    shape = _shape(entry.get("shape", []))
    if not all(isinstance(dim, int) for dim in shape):
        raise ProgramError("has a weight whose size varies")
    return Weight(
        name=_text(entry.get("name"), "name of a weight"),
        role=_one_of(entry.get("role"), ROLES, "role"),
        dtype=_text(entry.get("dtype"), "dtype of a weight"),
        shape=tuple(int(dim) for dim in shape),
    )


def _shape(found: object) -> Shape:
    dims = _as_list(found, "shape")
    if len(dims) > MAX_RANK:
        raise ProgramError(f"has a shape of {len(dims)} dimensions")
    for dim in dims:
        if isinstance(dim, str):
            _text(dim, "dimension")
        elif type(dim) is not int or not 0 <= dim < MAX_INTEGER:
            raise ProgramError("has a dimension that is no size")
    return tuple(dims)


def _range(found: object) -> tuple[int, int | None]:
    ends = _as_list(found, "range of a size")
    if len(ends) != 2:
        raise ProgramError("has a range of a size without two ends")
    low, high = _optional_int(ends[0], "lowest size") or 0, _optional_int(ends[1], "highest size")
    if low < 0 or (high is not None and high < low):
        raise ProgramError(f"has a size from {low} to {high}, which no size is")
    return low, high


def _difference(found: object) -> float | None:
    if found is None:
        return None
    if isinstance(found, str):
        return float(_one_of(found, _FLOATS, "difference"))
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ProgramError("has a difference that is no number")
    return float(_within_64_bits(found, "difference"))


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
    if not isinstance(found, str) or len(found) > MAX_TEXT or _SURROGATE.search(found):
        raise ProgramError(f"has a {what} that is no text of at most {MAX_TEXT:,} characters")
    return found


def _one_of(found: object, known: Sequence[str], what: str) -> Any:  # noqa: ANN401 - one of `known`
    if not isinstance(found, str) or found not in known:
        raise ProgramError(f"has the {what} {str(found)[:60]!r}; known are {', '.join(known)}")
    return found


def _optional_int(found: object, what: str) -> int | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int):
        raise ProgramError(f"has a {what} that is no integer")
    return _within_64_bits(found, what)


def _within_64_bits(found: _Number, what: str) -> _Number:
    """A larger integer is none of ours, and would fail wherever it meets an array or a float."""
    if isinstance(found, int) and not -MAX_INTEGER < found < MAX_INTEGER:
        raise ProgramError(f"has a {what} of more than 64 bits")
    return found
