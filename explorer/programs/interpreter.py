"""Run a captured program: node after node, on any device, with any weights, and with any node's value kept or replaced."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from explorer.errors import ProgramError
from explorer.programs.operators import COND, resolve, writes
from explorer.storage.program import Graph, Input, Node, Program, references

Value = Any
Replacement = Tensor | Callable[[Tensor], Tensor]
Getter = Callable[[list[Value]], Value]

_LAYOUTS: Final = {"strided": torch.strided, "sparse_coo": torch.sparse_coo}
_MEMORY_FORMATS: Final = {
    name: getattr(torch, name) for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
}
_ALL: Final = frozenset(("all",))


class PathChanged(ProgramError):
    """A tape holds the one path that the example took; this input would take another."""


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        outputs: by the output's path in the model's return value, in order; tensors, numbers or None.
        kept: values of the nodes that were asked for, by name, in the order in which they ran.
    """

    outputs: dict[str, Value]
    kept: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Step:
    """A node, ready to run: where its value goes, how to get its arguments, and which values end with it."""

    node: Node
    place: int
    function: Callable[..., Value] | None  # None: `cond`
    args: Sequence[Value]  # getters and plain values
    kwargs: Mapping[str, Value]
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Code:
    size: int
    num_inputs: int
    steps: tuple[_Step, ...]
    outputs: tuple[Value, ...]


class Interpreter:
    """A program with its operators looked up once; runs as often as wanted, from one thread at a time.

    Args:
        program: what to run.
        constants: tensors that belong to the program, by name.

    Raises:
        ProgramError: an operator is not allowed, or unknown to this PyTorch; a constant is missing.
    """

    def __init__(self, program: Program, constants: Mapping[str, Tensor]) -> None:
        self.program = program
        self._constants = dict(constants)
        missing = [w.name for w in program.weights.values() if w.role == "constant" and w.name not in constants]
        if missing:
            raise ProgramError(f"the program's constant {missing[0]!r} is missing: its file is damaged or gone")
        self._device = torch.device("cpu")
        # Only a tape writes into tensors; then inputs and weights are copied first, and kept values at once.
        self._in_place = program.route == "tape"
        self._code = self._compile(program.graph)
        self._writes = self._in_place and any(
            step.function is not None and writes(step.function) for step in self._code.steps
        )

    def run(
        self,
        inputs: Sequence[Value] | Mapping[str, Value],
        weights: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        keep: Collection[str] = (),
        replace: Mapping[str, Replacement] | None = None,
        on_node: Callable[[Node, Value], None] | None = None,
        seed: int | None = 0,
    ) -> Result:
        """Run once. Gradients flow from the outputs to inputs and weights where autograd is on.

        Args:
            inputs: tensors in the order of `program.inputs`, or by their path. What was no tensor at capture may be
                left out of a mapping, and is the recorded value then.
            weights: by name; parameters and buffers, on any device.
            device: where to compute; everything is brought there.
            keep: names of nodes whose values to return, or `{"all"}`.
            replace: node's name to what its value becomes: a tensor, or a function of the value.
            on_node: called with each node and its value, after a replacement.
            seed: of the generators of random numbers, so that two runs draw the same; None leaves them as they are.

        Raises:
            ProgramError: an input or a weight does not fit, or a name is unknown.
            PathChanged: a tape would take another path with this input.
        """
        self._device = torch.device(device)
        replace = replace or {}
        unknown = ({*replace} | {*keep}) - {node.name for node in self.program.graph.nodes} - _ALL
        unknown -= set(self.program.graph.inputs)
        if unknown:
            raise ProgramError(f"the program has no node {sorted(unknown)[0]!r}")
        given = match_inputs(self.program, inputs)
        values = [self._placed(value) for value in given]
        for weight in self.program.weights.values():
            source = self._constants if weight.role == "constant" else weights
            if weight.name not in source:
                raise ProgramError(f"the {weight.role} {weight.name!r} is missing from these weights")
            values.append(self._placed(source[weight.name]))
        kept: dict[str, Value] = {}
        wanted = frozenset(keep)
        hook = self._hook(wanted, replace, on_node, kept) if wanted or replace or on_node else None
        if hook is not None:
            values = [
                hook_input(hook, name, value) for name, value in zip(self.program.graph.inputs, values, strict=True)
            ]
        if seed is not None:
            torch.manual_seed(seed)
        outputs = self._execute(self._code, values, hook)
        return Result(dict(zip(self.program.output_paths, outputs, strict=True)), kept)

    def _placed(self, value: Value) -> Value:
        if not isinstance(value, Tensor):
            return value
        if value.device != self._device:
            return value.to(self._device)
        return value.clone() if self._writes else value

    def _hook(
        self,
        wanted: frozenset[str],
        replace: Mapping[str, Replacement],
        on_node: Callable[[Node, Value], None] | None,
        kept: dict[str, Value],
    ) -> Callable[[Node, Value], Value]:
        every = wanted == _ALL
        copies = self._writes

        def hook(node: Node, value: Value) -> Value:
            if node.name in replace:
                value = _replaced(node, value, replace[node.name])
            if every or node.name in wanted:
                kept[node.name] = value.clone() if copies and isinstance(value, Tensor) else value
            if on_node is not None:
                on_node(node, value)
            return value

        return hook

    def _execute(
        self, code: _Code, inputs: Sequence[Value], hook: Callable[[Node, Value], Value] | None
    ) -> list[Value]:
        values: list[Value] = [None] * code.size
        values[: len(inputs)] = inputs
        for step in code.steps:
            args = [part.get(values) if isinstance(part, _Get) else part for part in step.args]
            kwargs = {name: part.get(values) if isinstance(part, _Get) else part for name, part in step.kwargs.items()}
            try:
                if step.function is None:
                    value = self._branch(args, hook)
                else:
                    value = step.function(*args, **kwargs)
            except ProgramError:
                raise
            except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
                raise _node_error(step.node, error) from error
            if step.node.expect is not None and value != step.node.expect:
                raise PathChanged(
                    f"the model decided by a value here: {step.node.expect!r} when it was recorded, {value!r} with this "
                    "input. It would go another way, which was not recorded"
                )
            if hook is not None:
                value = hook(step.node, value)
            values[step.place] = value
            for place in step.ends:
                values[place] = None
        return [part.get(values) if isinstance(part, _Get) else part for part in code.outputs]

    def _branch(self, args: list[Value], hook: Callable[[Node, Value], Value] | None) -> Value:
        if len(args) != 4 or not isinstance(args[1], _Code) or not isinstance(args[2], _Code):
            raise ProgramError("the program has a cond without two branches")
        chosen = args[1] if bool(args[0]) else args[2]
        if len(args[3]) != chosen.num_inputs:
            raise ProgramError("the program has a cond whose branches take other inputs than it gives")
        return self._execute(chosen, args[3], hook)

    def _compile(self, graph: Graph) -> _Code:
        places = {name: place for place, name in enumerate((*graph.inputs, *(node.name for node in graph.nodes)))}
        last: dict[str, int] = {}
        for index, node in enumerate(graph.nodes):
            for name in (*references(list(node.args)), *references(list(node.kwargs.values()))):
                last[name] = index
        for name in references(list(graph.outputs)):
            last.pop(name, None)
        ends: dict[int, list[int]] = {}
        for name, index in last.items():
            ends.setdefault(index, []).append(places[name])
        steps = []
        for index, node in enumerate(graph.nodes):
            steps.append(
                _Step(
                    node=node,
                    place=places[node.name],
                    function=None if node.op == COND else resolve(node.op, in_place=self._in_place),
                    args=[self._decode(part, places) for part in node.args],
                    kwargs={name: self._decode(part, places) for name, part in node.kwargs.items()},
                    ends=tuple(ends.get(index, ())),
                )
            )
        outputs = tuple(self._decode(part, places) for part in graph.outputs)
        return _Code(len(places), len(graph.inputs), tuple(steps), outputs)

    def _decode(self, part: object, places: Mapping[str, int]) -> Value:
        """An encoded argument as a plain value, or as a `_Get` where it depends on the run."""
        if isinstance(part, list):
            parts = [self._decode(each, places) for each in part]
            return _Get.list_of(parts) if any(isinstance(each, _Get) for each in parts) else parts
        if not isinstance(part, dict):
            return part
        ((key, value),) = part.items()
        if key == "node":
            return _Get.place(places[value])
        if key == "device":
            return _Get(lambda _: self._device)
        if key == "graph":
            return self._compile(_branch_graph(value))
        if key == "slice":
            parts = [self._decode(each, places) for each in value]
            if any(isinstance(each, _Get) for each in parts):
                whole = _Get.list_of(parts)
                return _Get(lambda values: slice(*whole.get(values)))
            return slice(*parts)
        return _constant(key, value)


class _Get:
    """An argument that depends on the run."""

    __slots__ = ("get",)

    def __init__(self, get: Getter) -> None:
        self.get = get

    @classmethod
    def place(cls, place: int) -> _Get:
        return cls(lambda values: values[place])

    @classmethod
    def list_of(cls, parts: Sequence[Value]) -> _Get:
        return cls(lambda values: [part.get(values) if isinstance(part, _Get) else part for part in parts])


def hook_input(hook: Callable[[Node, Value], Value], name: str, value: Value) -> Value:
    """Let a hook see an input or a weight as if it were a node's value."""
    return hook(Node(name, "input", (), {}, None, "", "", None, None), value)


def match_inputs(program: Program, inputs: Sequence[Value] | Mapping[str, Value]) -> list[Value]:
    """The inputs in the program's order, each checked against what was captured.

    Raises:
        ProgramError: one is missing, is unknown, or has another dtype, number of dimensions or fixed size.
    """
    if not isinstance(inputs, Mapping):
        tensors = [found for found in program.inputs if found.dtype]
        names = tensors if len(inputs) == len(tensors) else program.inputs
        if len(inputs) != len(names):
            raise ProgramError(f"the model takes {len(program.inputs)} inputs; found {len(inputs)}")
        inputs = {found.path: value for found, value in zip(names, inputs, strict=True)}
    unknown = set(inputs) - {found.path for found in program.inputs}
    if unknown:
        known = ", ".join(found.path for found in program.inputs)
        raise ProgramError(f"the model has no input {sorted(unknown)[0]!r}; it has {known}")
    values = []
    sizes: dict[str, int] = {}
    for found in program.inputs:
        if not found.dtype:
            values.append(_plain_input(found, inputs))
            continue
        value = inputs.get(found.path)
        if not isinstance(value, Tensor):
            raise ProgramError(f"the input {found.path} should be a tensor; found {type(value).__name__}")
        _check_tensor(program, found, value, sizes)
        values.append(value)
    return values


def _plain_input(found: Input, inputs: Mapping[str, Value]) -> Value:
    value = inputs.get(found.path, found.value)
    if isinstance(value, Tensor) or value != found.value:
        raise ProgramError(
            f"the input {found.path} was {found.value!r} when the model was recorded and is part of the program; "
            f"found {'a tensor' if isinstance(value, Tensor) else repr(value)}"
        )
    return value


def _check_tensor(program: Program, found: Input, value: Tensor, sizes: dict[str, int]) -> None:
    dtype = str(value.dtype).removeprefix("torch.")
    floating = value.is_floating_point() and getattr(torch, found.dtype, torch.int64).is_floating_point
    if dtype != found.dtype and not floating:
        raise ProgramError(f"the input {found.path} should be {found.dtype}; found {dtype}")
    if value.dim() != len(found.shape):
        raise ProgramError(
            f"the input {found.path} should have {len(found.shape)} dimensions {_shape_text(found.shape)}; found "
            f"{tuple(value.shape)}"
        )
    for dim, (wanted, size) in enumerate(zip(found.shape, value.shape, strict=True)):
        if isinstance(wanted, int):
            if size != wanted:
                raise ProgramError(
                    f"the input {found.path} should have size {wanted} in dimension {dim}, which was fixed when the "
                    f"model was recorded; found {size}"
                )
            continue
        low, high = program.symbols.get(wanted, (0, None))
        if size < low or (high is not None and size > high):
            reach = f"at least {low}" if high is None else f"{low} to {high}"
            raise ProgramError(f"the input {found.path} should have {reach} in dimension {dim}; found {size}")
        if sizes.setdefault(wanted, size) != size:
            raise ProgramError(
                f"the input {found.path} should have {sizes[wanted]} in dimension {dim}, as another input; found {size}"
            )


def _shape_text(shape: Sequence[int | str]) -> str:
    return "(" + ", ".join("any" if isinstance(dim, str) else str(dim) for dim in shape) + ")"


def _replaced(node: Node, value: Value, replacement: Replacement) -> Value:
    if isinstance(replacement, Tensor):
        new: Value = replacement.to(value.device) if isinstance(value, Tensor) else replacement
    else:
        new = replacement(value)
    if isinstance(value, Tensor) and (not isinstance(new, Tensor) or new.shape != value.shape):
        found = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
        raise ProgramError(f"the new value of {node.name} should have the shape {tuple(value.shape)}; found {found}")
    return new


def _node_error(node: Node, error: Exception) -> ProgramError:
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    where = f" ({node.source})" if node.source else ""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ProgramError(f"{node.op} at {node.name}{where} cannot be computed with these values: {text[:300]}")


def _constant(key: str, value: Any) -> Value:  # noqa: ANN401 - what JSON holds
    if key == "float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value]
    if key == "complex":
        return complex(*(_constant("float", part["float"]) if isinstance(part, dict) else part for part in value))
    if key == "dtype":
        found = getattr(torch, value, None)
        if isinstance(found, torch.dtype):
            return found
    known: Mapping[str, Value] = {"layout": _LAYOUTS, "memory_format": _MEMORY_FORMATS}.get(key, {})
    if value in known:
        return known[value]
    raise ProgramError(
        f"the program uses the {key.replace('_', ' ')} {value!r}, which PyTorch {torch.__version__} lacks"
    )


def _branch_graph(value: Mapping[str, Any]) -> Graph:
    nodes = tuple(
        Node(
            entry["name"], entry["op"], tuple(entry.get("args", ())), entry.get("kwargs", {}), entry.get("module"),
            entry.get("source", ""), entry.get("dtype", ""), None, None,
        )
        for entry in value.get("nodes", ())
    )  # fmt: skip
    return Graph(tuple(value.get("inputs", ())), nodes, tuple(value.get("outputs", ())))


def tensors_of(value: Value) -> Iterator[Tensor]:
    """The tensors within a node's value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_of(part)
