"""Run a captured program: node after node, on any device, with any weights, and any node's value kept or replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from explorer.errors import OutOfMemory, ProgramError
from explorer.programs.compiling import DEVICE_PLACE, Code, Step, compile_graph
from explorer.programs.inputs import match_inputs
from explorer.programs.operators import is_random, writes
from explorer.programs.seeding import seeded
from explorer.storage.program import Node, Program

Value = Any
Replacement = Tensor | Callable[[Tensor], Tensor]
Hook = Callable[[Node, Value], Value]

ALL: Final = frozenset(("all",))


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
        for weight in program.weights.values():
            if weight.role == "constant" and weight.name not in constants:
                raise ProgramError(f"the program's constant {weight.name!r} is missing: its file is damaged or gone")
        self._code = compile_graph(program.graph, in_place=program.route == "tape")
        # Only a tape writes into tensors; then inputs and weights are copied first, and kept values at once.
        self._writes = any(writes(function) for function in _functions(self._code))
        self._is_random = any(is_random(function) for function in _functions(self._code))
        self._names = {*program.graph.inputs, *(node.name for node in program.graph.nodes)}

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
                left out, and is the recorded value then.
            weights: by name; parameters and buffers, on any device.
            device: where to compute; everything is brought there.
            keep: names of nodes (also of inputs and weights) whose values to return; `{"all"}` for all nodes.
            replace: node's name to what its value becomes: a tensor, or a function of the value.
            on_node: called with each node and its value, after a replacement. Not for nodes in a branch of `cond`.
            seed: of the random numbers that the program draws, so that two runs draw the same; PyTorch's generators
                are put back after. None draws from them as they are.

        Raises:
            ProgramError: an input or a weight does not fit, a name is unknown, or an operator fails.
            PathChanged: a tape would take another path with this input.
            OutOfMemory: the device has too little memory.
        """
        device = torch.device(device)
        replace = replace or {}
        unknown = {*replace, *keep} - self._names - ALL
        if unknown:
            raise ProgramError(f"the program has no node {sorted(unknown)[0]!r}")
        kept: dict[str, Value] = {}
        hook = self._hook(frozenset(keep), replace, on_node, kept) if keep or replace or on_node else None
        values = self._inputs(inputs, weights, device)
        if hook is not None and not (unhooked := {*replace, *keep}).isdisjoint(self.program.graph.inputs):
            values = [
                hook(_input_node(name), value) if name in unhooked else value
                for name, value in zip(self.program.graph.inputs, values, strict=True)
            ]
        with seeded(device, seed) if self._is_random else nullcontext():
            outputs = _execute(self._code, values, device, hook)
        return Result(dict(zip(self.program.output_paths, outputs, strict=True)), kept)

    def _inputs(
        self, inputs: Sequence[Value] | Mapping[str, Value], weights: Mapping[str, Tensor], device: torch.device
    ) -> list[Value]:
        given = match_inputs(self.program, inputs)
        for weight in self.program.weights.values():
            found = (self._constants if weight.role == "constant" else weights).get(weight.name)
            if found is None:
                raise ProgramError(f"the {weight.role} {weight.name!r} is missing from these weights")
            given.append(found)
        try:
            return [self._placed(value, device) for value in given]
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise OutOfMemory(f"inputs and weights do not fit into the memory of {device}") from error
            raise

    def _placed(self, value: Value, device: torch.device) -> Value:
        if not isinstance(value, Tensor):
            return value
        if value.device != device:
            return value.to(device)  # the same tensor where "cuda" already means its device
        return value.clone() if self._writes else value

    def _hook(
        self,
        wanted: frozenset[str],
        replace: Mapping[str, Replacement],
        on_node: Callable[[Node, Value], None] | None,
        kept: dict[str, Value],
    ) -> Hook:
        every = "all" in wanted
        copies = self._writes

        def hook(node: Node, value: Value) -> Value:
            if node.name in replace:
                value = replaced(node, value, replace[node.name])
                value = value.clone() if copies and isinstance(value, Tensor) else value
            if every or node.name in wanted:
                kept[node.name] = value.clone() if copies and isinstance(value, Tensor) else value
            if on_node is not None:
                on_node(node, value)
            return value

        return hook


def _functions(code: Code) -> list[Callable[..., Value]]:
    """Every operator of a graph and of its branches."""
    found = [step.function for step in code.steps if step.function is not None]
    for part in code.start:
        if isinstance(part, Code):
            found += _functions(part)
    return found


def _execute(code: Code, inputs: Sequence[Value], device: torch.device, hook: Hook | None) -> tuple[Value, ...]:
    values = code.start.copy()
    values[DEVICE_PLACE] = device
    for place, value in zip(code.input_places, inputs, strict=True):
        values[place] = value
    for step in code.steps:
        for build in step.builds:
            values[build.place] = build.make(build.fetch(values))
        args = step.fetch(values)
        try:
            if step.function is None:
                value = _branch(args, device)
            elif step.names:
                value = step.function(*args, **dict(zip(step.names, step.fetch_named(values), strict=True)))
            else:
                value = step.function(*args)
        except ProgramError:
            raise
        except Exception as error:  # whatever a kernel raises for values that do not suit it
            raise _explained(step.node, error) from error
        if step.node.expect is not None:
            _check_path(step, value)
        if hook is not None:
            value = hook(step.node, value)
        values[step.place] = value
        for place in step.ends:
            values[place] = None
    for build in code.builds:
        values[build.place] = build.make(build.fetch(values))
    return code.fetch_outputs(values)


def _branch(args: tuple[Value, ...], device: torch.device) -> Value:
    if len(args) != 4 or not isinstance(args[1], Code) or not isinstance(args[2], Code):
        raise ProgramError("the program has a cond without two branches")
    chosen = args[1] if bool(args[0]) else args[2]
    if not isinstance(args[3], list) or len(args[3]) != len(chosen.input_places):
        raise ProgramError("the program has a cond whose branches take other inputs than it gives")
    return _execute(chosen, args[3], device, None)


def _check_path(step: Step, value: Value) -> None:
    expected = step.node.expect
    both_nan = isinstance(value, float) and value != value and expected != expected
    if isinstance(value, Tensor) or (value != expected and not both_nan):
        where = f" ({step.node.source})" if step.node.source else ""
        raise PathChanged(
            f"the model decides by a value at {step.node.name}{where}: {expected!r} when it was recorded, {value!r} "
            "now. It would go another way, which was not recorded: undo or lessen the edit, or choose an input that is "
            "more like the example"
        )


def _input_node(name: str) -> Node:
    return Node(name, "input", (), {}, None, "", "", None, None)


def replaced(node: Node, value: Value, replacement: Replacement) -> Value:
    """A node's value after a replacement. Raises ProgramError: it is no tensor, or gets another shape."""
    if not isinstance(value, Tensor):
        raise ProgramError(f"the value of {node.name} is no tensor: it cannot be replaced")
    new = replacement if isinstance(replacement, Tensor) else replacement(value)
    if not isinstance(new, Tensor) or new.shape != value.shape:
        found = tuple(new.shape) if isinstance(new, Tensor) else f"a {type(new).__name__}"
        raise ProgramError(f"the new value of {node.name} should have the shape {tuple(value.shape)}; found {found}")
    return new.to(device=value.device, dtype=value.dtype)


def _explained(node: Node, error: Exception) -> ProgramError:
    where = f"{node.op} at {node.name}" + (f" ({node.source})" if node.source else "")
    if is_out_of_memory(error):
        return OutOfMemory(f"there is too little memory for {where}: use a smaller input or another device")
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ProgramError(f"{where} cannot be computed with these values: {text[:300]}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python says that there is not enough memory, of any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The allocator of the CPU has no exception of its own.
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in str(error) or "out of memory" in str(error))
