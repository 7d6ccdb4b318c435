"""A user's own module with the face of an `Interpreter`: every module's output can be kept and replaced by hooks.

The last rung of the ladder, for models that no program describes: it runs the user's code, as Python does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import torch
from torch import Tensor, nn

from explorer.errors import OutOfMemory, ProgramError
from explorer.inference.tensors import dtype_name
from explorer.programs.interpreter import ALL, Replacement, Result, is_out_of_memory, replaced
from explorer.programs.seeding import seeded
from explorer.storage.program import Node, Program
from explorer.storage.program_document import parse_program

_PLACE: Final = re.compile(r"args\[(\d{1,3})\]|kwargs\['(\w{1,100})'\]", re.ASCII)
_MAX_DEPTH: Final = 4

Value = Any


class HookedModel:
    """A module that runs with weights given at each call; it is left in evaluation mode and as it was.

    Args:
        model: the module, on the CPU.
        examples: what it is called with, by path: `args[0]`, `kwargs['mask']`. It is run on them once, to see its
            modules.

    Attributes:
        document: what `program` was made of: its nodes are the modules that gave a tensor (or a tuple that begins with
            one), by path, in the order in which they ended; sizes of inputs may be any.
        program: the same, parsed.

    Raises:
        ProgramError: a path is none, or the model fails on the examples.
    """

    def __init__(self, model: nn.Module, examples: Mapping[str, Value]) -> None:
        self._model = model.eval()
        self._names: dict[tuple[str, int], Node] = {}
        self.document: dict[str, Any] = {}
        seen: list[tuple[str, int, str, Tensor]] = []
        weights = dict(model.state_dict(keep_vars=True))

        def look(path: str, call: int, kind: str, value: Tensor) -> Tensor:
            seen.append((path, call, kind, value))
            return value

        with torch.no_grad():
            outputs = self._forward(examples, weights, torch.device("cpu"), look, 0)
        self.document = _document(model, examples, seen, outputs)
        self.program: Program = parse_program(self.document)
        for node in self.program.graph.nodes:
            if node.module is not None:
                found = self.program.modules[node.module]
                self._names[found.path, found.call] = node

    def identify(self, fingerprint: int | None, step: int | None) -> None:
        """Take over with which weights outputs were recorded, and at which step."""
        self.document |= {"fingerprint": fingerprint, "step": step}
        self.program = parse_program(self.document)

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
        """As `Interpreter.run`. Raises ProgramError also for whatever the model raises."""
        device, replace = torch.device(device), dict(replace or {})
        known = {node.name for node in self.program.graph.nodes}
        unknown = {*replace, *keep} - known - ALL
        if unknown:
            raise ProgramError(f"the model has no module {sorted(unknown)[0]!r}")
        given = inputs if isinstance(inputs, Mapping) else self._by_path(inputs)
        kept: dict[str, Value] = {}
        every = not ALL.isdisjoint(keep)

        def look(path: str, call: int, _kind: str, value: Tensor) -> Tensor:
            node = self._names.get((path, call))
            if node is None:  # another input, another way through the code
                return value
            if node.name in replace:
                value = replaced(node, value, replace[node.name])
            if every or node.name in keep:
                kept[node.name] = value.clone()  # what follows may write into it
            if on_node is not None:
                on_node(node, value)
            return value

        return Result(self._forward(given, weights, device, look, seed), kept)

    def _by_path(self, inputs: Sequence[Value]) -> dict[str, Value]:
        if len(inputs) != len(self.program.inputs):
            raise ProgramError(f"the model takes {len(self.program.inputs)} inputs; found {len(inputs)}")
        return {found.path: value for found, value in zip(self.program.inputs, inputs, strict=True)}

    def _forward(
        self,
        inputs: Mapping[str, Value],
        weights: Mapping[str, Tensor],
        device: torch.device,
        look: Callable[[str, int, str, Tensor], Tensor],
        seed: int | None,
    ) -> dict[str, Value]:
        args, kwargs = _call(inputs, device)
        self._model.to(device)  # for tensors that are no weights, such as buffers that are not stored
        # A model may write into its buffers; the weights of a step stay what they are.
        buffers = {name for name, _ in self._model.named_buffers()}
        placed = {
            name: tensor.to(device).clone() if name in buffers else tensor.to(device)
            for name, tensor in weights.items()
        }
        calls: dict[str, int] = {}

        def hook(path: str) -> Callable[..., Value]:
            def after(module: nn.Module, _args: Value, output: Value) -> Value:
                call = calls[path] = calls.get(path, -1) + 1
                kind = type(module).__name__
                if isinstance(output, Tensor):
                    return look(path, call, kind, output)
                if isinstance(output, tuple) and type(output) is tuple and output and isinstance(output[0], Tensor):
                    return (look(path, call, kind, output[0]), *output[1:])
                return None

            return after

        with ExitStack() as stack:
            for path, module in self._model.named_modules():
                stack.callback(module.register_forward_hook(hook(path)).remove)
            stack.enter_context(seeded(device, seed))
            try:
                return _flat(torch.func.functional_call(self._model, placed, args, kwargs))
            except ProgramError:
                raise
            except Exception as error:  # whatever the user's code raises
                if is_out_of_memory(error):
                    raise OutOfMemory(f"the model does not fit into the memory of {device}") from error
                text = (str(error).strip().splitlines() or [""])[0][:300]
                raise ProgramError(f"your model fails with {type(error).__name__}: {text}") from error


def _call(inputs: Mapping[str, Value], device: torch.device) -> tuple[tuple[Value, ...], dict[str, Value]]:
    """Arguments of a call, from values by path. Raises ProgramError."""
    args: dict[int, Value] = {}
    kwargs: dict[str, Value] = {}
    for path, value in inputs.items():
        found = _PLACE.fullmatch(path)
        if found is None:
            raise ProgramError(
                f"the input {path} is part of a larger argument; your model is called with tensors only. Let the "
                "factory return (model, example_inputs) with a model that takes them"
            )
        placed = value.to(device) if isinstance(value, Tensor) else value
        if found[1] is not None:
            args[int(found[1])] = placed
        else:
            kwargs[found[2]] = placed
    if sorted(args) != list(range(len(args))):
        raise ProgramError(f"the inputs should be all arguments in order; found those at {sorted(args)}")
    return tuple(args[place] for place in sorted(args)), kwargs


def _flat(value: Value, path: str = "", depth: int = 0) -> dict[str, Value]:
    """What a model returns, by path: `[0]`, `['logits']`; what is no tensor or number in it is left out."""
    if isinstance(value, Tensor | bool | int | float):
        return {path: value}
    parts: Mapping[Any, Value] = {}
    if isinstance(value, Mapping):
        parts = {repr(str(key)): part for key, part in value.items()}
    elif isinstance(value, tuple | list):
        parts = dict(enumerate(value))
    found: dict[str, Value] = {}
    if depth < _MAX_DEPTH:
        for key, part in parts.items():
            found |= _flat(part, f"{path}[{key}]", depth + 1)
    return found


def _document(
    model: nn.Module,
    examples: Mapping[str, Value],
    seen: Sequence[tuple[str, int, str, Tensor]],
    outputs: Mapping[str, Value],
) -> dict[str, Any]:
    names = _Names()
    inputs: list[dict[str, Any]] = []
    symbols: dict[str, list[int | None]] = {}
    for path, value in examples.items():
        name = names.of(path)
        if isinstance(value, Tensor):
            sizes = [f"{name}_{place}" for place in range(value.dim())]
            symbols |= {size: [1, None] for size in sizes}
            inputs.append({"name": name, "path": path, "dtype": dtype_name(value), "shape": sizes})
        else:
            inputs.append({"name": name, "path": path, "value": value})
    state = model.state_dict(keep_vars=True)
    buffers = {name for name, _ in model.named_buffers()}
    weights = {
        names.of(f"weight.{name}"): {
            "name": name,
            "role": "buffer" if name in buffers else "param",
            "dtype": dtype_name(tensor),
            "shape": list(tensor.shape),
        }
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }
    same: dict[int, list[str]] = {}
    for name, tensor in state.items():
        same.setdefault(id(tensor), []).append(name)
    nodes, last = [], {}
    for place, (path, call, _, value) in enumerate(seen):
        name = names.of((path or "whole") + (f".call{call}" if call else ""))
        last[id(value)] = name
        node = {"name": name, "op": "module.forward", "args": [], "module": place, "dtype": dtype_name(value)}
        nodes.append({**node, "shape": list(value.shape)})
    # An output that no module gave (a sum in the model's own forward) is named all the same.
    for path, value in outputs.items():
        if isinstance(value, Tensor) and id(value) not in last:
            last[id(value)] = names.of(f"output.{path}")
            nodes.append({"name": last[id(value)], "op": "module.output", "args": []})
    return {
        "format": 1, "route": "export", "why": [], "torch": torch.__version__, "step": None, "autocast": "",
        "inputs": inputs, "symbols": symbols, "weights": weights,
        "ties": [group for group in same.values() if len(group) > 1],
        "modules": [{"path": path, "type": kind[:100], "call": call} for path, call, kind, _ in seen],
        "graph": {
            "nodes": nodes,
            "outputs": [
                {"node": last[id(value)]} if isinstance(value, Tensor) else value for value in outputs.values()
            ],
        },
        "output_paths": list(outputs), "check": {},
    }  # fmt: skip


class _Names:
    """Names as a program has them, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, text: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_.]", "_", text)[:180]
        base = base if base[:1].isalpha() or base[:1] == "_" else f"_{base}"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}.{number}"
        self._taken.add(name)
        return name
