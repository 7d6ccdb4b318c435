"""A model with a recipe applied to it: edited inputs, weights and activations, ready to run beside the original."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.edits.activation_edits import Replace, along, chained, replacement
from explorer.inference.edits.batch import batch_dim, takes_one
from explorer.inference.edits.input_edits import edit_inputs
from explorer.inference.edits.kinds.activations import ActivationEdit
from explorer.inference.edits.kinds.inputs import InputEdit
from explorer.inference.edits.kinds.weights import WeightEdit
from explorer.inference.edits.recipe import Recipe
from explorer.inference.edits.weight_edits import NoSnapshots, Snapshots, Weights, edit_weights
from explorer.inference.hooked_model import HookedModel
from explorer.programs.interpreter import Interpreter, Result
from explorer.storage.program import Node, Program, Shape

Inputs = Mapping[str, Tensor]
OnNode = Callable[[Node, object], None]


@dataclass(frozen=True)
class Subject:
    """What recipes are applied to: a program with the weights of one step.

    Attributes:
        interpreter: of the program, or the user's own module.
        weights: parameters and buffers by name.
        device: where it runs.
        probe: a batch of recorded inputs by path, each [N, ...]; None: there is none.
        snapshots: the weights of other steps and runs.
    """

    interpreter: Interpreter | HookedModel
    weights: Weights
    device: torch.device | str = "cpu"
    probe: Inputs | None = None
    snapshots: Snapshots = field(default_factory=NoSnapshots)

    def run(
        self,
        inputs: Inputs,
        *,
        weights: Weights | None = None,
        keep: Collection[str] = (),
        replace: Mapping[str, Replace] | None = None,
        on_node: OnNode | None = None,
        seed: int = 0,
    ) -> Result:
        """Run as it is, or with other weights. Without gradients. Raises ProgramError."""
        weights = self.weights if weights is None else weights
        with torch.no_grad():
            return self.interpreter.run(
                inputs, weights, device=self.device, keep=keep, replace=dict(replace or {}), on_node=on_node, seed=seed
            )

    def example(self, index: int) -> dict[str, Tensor]:
        """One recorded example as a batch of one. Raises UsageError."""
        probe = self.probe or {}
        self._check(index)
        return {path: value[index : index + 1] for path, value in probe.items()}

    def value_for(self, node: str, index: int, weights: Weights) -> object:
        """The value of a node for one recorded example, in its batch where the model takes none alone.

        Raises:
            UsageError: there is no such example.
            ProgramError: the model cannot run.
        """
        program = self.interpreter.program
        if takes_one(program):
            return self.run(self.example(index), weights=weights, keep={node}).kept[node]
        self._check(index)
        value = self.run(self.probe or {}, weights=weights, keep={node}).kept[node]
        dim = batch_dim(program, _shapes(program)[node])
        if isinstance(value, Tensor) and value.dim() > dim and value.shape[dim] == self.num_examples:
            return value.narrow(dim, index, 1)
        return value

    @property
    def num_examples(self) -> int:
        """How many examples the probe batch has."""
        return min((len(value) for value in (self.probe or {}).values()), default=0)

    def _check(self, index: int) -> None:
        size = self.num_examples
        if not 0 <= index < size:
            raise UsageError(f"the example should be one of {size} recorded ones, from 0; found {index}")


@dataclass(frozen=True)
class Edited:
    """A subject with a recipe applied, for one input.

    Attributes:
        subject: the original.
        inputs: after the edits.
        weights: after the edits; unchanged tensors are those of the original.
        replace: what the edited nodes' values become.
        given: the inputs before the edits.
    """

    subject: Subject
    inputs: Inputs
    weights: Weights
    replace: Mapping[str, Replace]
    given: Inputs

    def original(self, *, keep: Collection[str] = (), seed: int = 0) -> Result:
        """Run the model as it was on the input as it was."""
        return self.subject.run(self.given, keep=keep, seed=seed)

    def run(self, *, keep: Collection[str] = (), on_node: OnNode | None = None, seed: int = 0) -> Result:
        """Run the edited model on the edited input, from the same random state as the original."""
        return self.on(self.inputs, keep=keep, on_node=on_node, seed=seed)

    def on(self, inputs: Inputs, *, keep: Collection[str] = (), on_node: OnNode | None = None, seed: int = 0) -> Result:
        """Run the edited model on other inputs, such as the probe batch, as they are given."""
        return self.subject.run(
            inputs, weights=self.weights, keep=keep, replace=self.replace, on_node=on_node, seed=seed
        )


@dataclass(frozen=True)
class _Elsewhere:
    """Values of nodes for edits, the batch's dimension first; the model as it is after the edits of its weights."""

    subject: Subject
    inputs: Inputs
    weights: Weights
    dims: Mapping[str, int]

    def probe(self, node: str) -> Tensor:
        if self.subject.probe is None:
            raise UsageError("ablating by a mean or by other examples needs recorded examples; there are none")
        return self._value(node, self.subject.probe, self.weights)

    def elsewhere(self, node: str, example: int | None, step: int | None, run: str) -> Tensor:
        weights = self.weights if step is None else self.subject.snapshots.weights(run, step)
        if example is None:
            return self._value(node, self.inputs, weights)
        return self._batch_first(node, self.subject.value_for(node, example, weights))

    def _value(self, node: str, inputs: Inputs, weights: Weights) -> Tensor:
        return self._batch_first(node, self.subject.run(inputs, weights=weights, keep={node}).kept[node])

    def _batch_first(self, node: str, value: object) -> Tensor:
        if not isinstance(value, Tensor):
            raise UsageError(f"the node {node} should hold one tensor to be edited; it holds a {type(value).__name__}")
        return value.movedim(self.dims[node], 0) if value.dim() else value


def apply(recipe: Recipe, subject: Subject, inputs: Inputs) -> Edited:
    """Apply a recipe. Edits of weights come first, then those of inputs, then those of activations; each kind in order.

    Args:
        recipe: what to change.
        subject: the model; it is not changed.
        inputs: by path; they are not changed.

    Raises:
        UsageError: an edit names something that is not there, or cannot work on it.
        ProgramError: the model cannot run where a value from elsewhere is needed.
    """
    program = subject.interpreter.program
    buffers = frozenset(weight.name for weight in program.weights.values() if weight.role == "buffer")
    weights: Weights = subject.weights
    edited: Inputs = inputs
    replace: dict[str, Replace] = {}
    for edit in recipe:
        if isinstance(edit, WeightEdit):
            weights = edit_weights(weights, edit, snapshots=subject.snapshots, buffers=buffers, ties=program.ties)
        elif isinstance(edit, InputEdit):
            edited = edit_inputs(edited, edit)
    dims = {name: batch_dim(program, shape) for name, shape in _shapes(program).items()}
    elsewhere = _Elsewhere(subject, edited, weights, dims)
    dtypes = {node.name: node.dtype for node in program.graph.nodes}
    for edit in recipe:
        if isinstance(edit, ActivationEdit):
            if edit.node not in dtypes:
                raise UsageError(f"{edit.kind} should name a node of the program; found {edit.node!r}")
            if "float" not in dtypes[edit.node]:
                held = dtypes[edit.node] or "something else"
                raise UsageError(f"the node {edit.node} should hold one floating tensor to be edited; it holds {held}")
            function = along(dims[edit.node], replacement(edit, elsewhere))
            replace[edit.node] = chained(replace[edit.node], function) if edit.node in replace else function
    return Edited(subject, edited, weights, replace, inputs)


def _shapes(program: Program) -> dict[str, Shape | None]:
    return {node.name: node.shape for node in program.graph.nodes}
