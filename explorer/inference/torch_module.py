"""A program as a `torch.nn.Module`, for tools that want one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from explorer.errors import ProgramError
from explorer.programs.interpreter import Interpreter
from explorer.storage.program import Node


class ProgramModule(nn.Module):
    """Takes a program's tensor inputs in order and gives one of its outputs.

    Attributes:
        taps: an identity for each node that was asked for, by its name; the node's value goes through it, so that a
            forward hook on it sees and may change the value, as on a module of the original model.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        weights: Mapping[str, Tensor],
        output: str,
        taps: Sequence[str],
        seed: int | None,
    ) -> None:
        super().__init__()
        self._interpreter, self._weights, self._output, self._seed = interpreter, dict(weights), output, seed
        self.taps = nn.ModuleDict({_attribute(name): nn.Identity() for name in taps})
        self._tapped = {name: self.taps[_attribute(name)] for name in taps}

    def tap(self, node: str) -> nn.Module:
        """The identity of a node, to be hooked."""
        return self._tapped[node]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output for these inputs. Raises ProgramError as `Interpreter.run`."""
        device = inputs[0].device if inputs else torch.device("cpu")
        result = self._interpreter.run(inputs, self._weights, device=device, replace=self._tapped, seed=self._seed)
        found: Tensor = result.outputs[self._output]
        return found


def as_module(
    interpreter: Interpreter,
    weights: Mapping[str, Tensor],
    output: str | None = None,
    taps: Sequence[str | Node] = (),
    seed: int | None = 0,
) -> ProgramModule:
    """A module that runs a program.

    Args:
        interpreter: of the program.
        weights: by name, on the device of the inputs.
        output: path of the output to give; by default the first that is a tensor.
        taps: nodes whose values hooks shall see.
        seed: as for `Interpreter.run`.

    Raises:
        ProgramError: there is no such output or node, or no output that is a tensor.
    """
    program = interpreter.program
    paths = [
        path
        for path, part in zip(program.output_paths, program.graph.outputs, strict=True)
        if isinstance(part, dict) and "node" in part
    ]
    chosen = output if output is not None else next(iter(paths), None)
    if chosen not in paths:
        raise ProgramError(f"the model has no output {chosen!r} that is a tensor; it has {', '.join(map(repr, paths))}")
    names = [tap.name if isinstance(tap, Node) else tap for tap in taps]
    known = {node.name for node in program.graph.nodes}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ProgramError(f"the program has no node {unknown[0]!r}")
    return ProgramModule(interpreter, weights, chosen, names, seed)


def _attribute(name: str) -> str:
    """A name as `ModuleDict` takes it: without dots."""
    return name.replace(".", "_") + "_tap"
