"""A graph made ready to run: names become places in one list, so that a run fetches arguments without looking at them.

Arguments that are the same in every run stand in that list, too, once: each operator's arguments are then fetched by
one `operator.itemgetter`, which is C. What must be put together during a run (a list or slice with a node in it) is
put together before its node, into a place of its own.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from explorer.errors import ProgramError
from explorer.programs.operators import COND, resolve
from explorer.storage.program import Graph, Node, references

Value = Any
Fetch = Callable[[list[Value]], tuple[Value, ...]]

DEVICE_PLACE: Final = 0
"""Where a run puts the device that it computes on."""

_MEMORY_FORMATS: Final = {
    name: getattr(torch, name) for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
}
_NAMED: Final[Mapping[str, Mapping[str, Value]]] = {
    "layout": {"strided": torch.strided},
    "memory_format": _MEMORY_FORMATS,
}
_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Build:
    """A list or a slice that is put together during a run."""

    place: int
    fetch: Fetch
    make: Callable[[tuple[Value, ...]], Value]


@dataclass(frozen=True, slots=True)
class Step:
    """A node, ready to run.

    Attributes:
        node: the node.
        place: where its value goes.
        function: its operator; None for `cond`.
        builds: what to put together first, in order.
        fetch: its positional arguments.
        names, fetch_named: its named arguments.
        ends: places whose values are not needed after it.
    """

    node: Node
    place: int
    function: Callable[..., Value] | None
    builds: tuple[Build, ...]
    fetch: Fetch
    names: tuple[str, ...]
    fetch_named: Fetch
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A graph, ready to run.

    Attributes:
        start: the list of a run before it begins: constant arguments, None elsewhere.
        input_places: one for each input of the graph.
        steps: in order.
        builds, fetch_outputs: the outputs.
    """

    start: list[Value]
    input_places: tuple[int, ...]
    steps: tuple[Step, ...]
    builds: tuple[Build, ...]
    fetch_outputs: Fetch


def compile_graph(graph: Graph, *, in_place: bool) -> Code:
    """Look up operators and places of a graph. Raises ProgramError as `resolve`, and for an unknown dtype."""
    return _Compiler(in_place).compile(graph)


class _Compiler:
    def __init__(self, in_place: bool) -> None:
        self._in_place = in_place
        self._start: list[Value] = [None]  # the device's place
        self._builds: list[Build] = []

    def compile(self, graph: Graph) -> Code:
        places = {name: self._new(None) for name in graph.inputs}
        ends = _ends(graph)
        steps = []
        for index, node in enumerate(graph.nodes):
            fetch = self._fetch([self._place(part, places) for part in node.args])
            fetch_named = self._fetch([self._place(part, places) for part in node.kwargs.values()])
            builds = self._take_builds()
            places[node.name] = self._new(None)
            ended = (*(places[name] for name in ends[index]), *(build.place for build in builds))
            function = None if node.op == COND else resolve(node.op, in_place=self._in_place)
            names = tuple(node.kwargs)
            steps.append(Step(node, places[node.name], function, builds, fetch, names, fetch_named, ended))
        fetch_outputs = self._fetch([self._place(part, places) for part in graph.outputs])
        inputs = tuple(places[name] for name in graph.inputs)
        return Code(self._start, inputs, tuple(steps), self._take_builds(), fetch_outputs)

    def _new(self, value: Value) -> int:
        self._start.append(value)
        return len(self._start) - 1

    def _take_builds(self) -> tuple[Build, ...]:
        builds, self._builds = tuple(self._builds), []
        return builds

    def _fetch(self, places: Sequence[int]) -> Fetch:
        if not places:
            return _nothing
        if len(places) == 1:
            return _One(places[0])
        getter: Fetch = operator.itemgetter(*places)
        return getter

    def _place(self, part: object, places: Mapping[str, int]) -> int:
        """Where an encoded argument will be found."""
        if not any(True for _ in _varying(part)):
            return self._new(self._constant(part))
        if isinstance(part, list):
            return self._build(part, places, list)
        assert isinstance(part, dict)
        ((key, value),) = part.items()
        if key == "node":
            return places[value]
        if key == "device":
            return DEVICE_PLACE
        return self._build(value, places, _slice)

    def _build(
        self, parts: Sequence[object], places: Mapping[str, int], make: Callable[[tuple[Value, ...]], Value]
    ) -> int:
        found = [self._place(part, places) for part in parts]  # what is within is built before
        place = self._new(None)
        self._builds.append(Build(place, self._fetch(found), make))
        return place

    def _constant(self, part: object) -> Value:
        if isinstance(part, list):
            return [self._constant(each) for each in part]
        if not isinstance(part, dict):
            return part
        ((key, value),) = part.items()
        if key == "graph":
            return compile_graph(value, in_place=self._in_place)
        if key == "slice":
            return slice(*(self._constant(each) for each in value))
        if key == "complex":
            return complex(*(self._constant(each) for each in value))
        if key == "float":
            return _FLOATS[value]
        return _named_constant(key, value)


def _ends(graph: Graph) -> list[list[str]]:
    """For each node, the names whose values nobody reads after it; a node that nobody reads ends with itself."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        last[node.name] = index
        for name in (*references(node.args), *references(tuple(node.kwargs.values()))):
            last[name] = index
    for name in references(graph.outputs):
        last.pop(name, None)
    ends: list[list[str]] = [[] for _ in graph.nodes]
    for name, index in last.items():
        ends[index].append(name)
    return ends


def _varying(part: object) -> Iterator[object]:
    """The parts of an argument that only a run knows."""
    if isinstance(part, list):
        for each in part:
            yield from _varying(each)
    elif isinstance(part, dict):
        ((key, value),) = part.items()
        if key in ("node", "device"):
            yield value
        elif key == "slice":
            yield from _varying(value)


def _named_constant(key: str, name: str) -> Value:
    found = getattr(torch, name, None) if key == "dtype" else _NAMED[key].get(name)
    if found is None or (key == "dtype" and not isinstance(found, torch.dtype)):
        what = f"{key.replace('_', ' ')} {name!r}"
        raise ProgramError(f"the program uses the {what}, which cannot be used with PyTorch {torch.__version__} here")
    return found


def _slice(parts: tuple[Value, ...]) -> slice:
    return slice(*parts)


def _nothing(_: list[Value]) -> tuple[Value, ...]:
    return ()


class _One:
    """One argument; `itemgetter` of one place would not give a tuple."""

    __slots__ = ("_place",)

    def __init__(self, place: int) -> None:
        self._place = place

    def __call__(self, values: list[Value]) -> tuple[Value, ...]:
        return (values[self._place],)
