"""The same input through every snapshot: how an answer came about in the course of the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.errors import ProgramError, UsageError
from explorer.inference.edits.apply import Edited, Inputs
from explorer.inference.edits.weight_edits import Weights

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scrub:
    """Outputs over steps.

    Attributes:
        steps: int64[S], ascending.
        outputs: [S, ...], the chosen output at each step, float32 or float64.
    """

    steps: NDArray[np.int64]
    outputs: NDArray[np.floating]

    def predictions(self) -> NDArray[np.int64]:
        """The most probable class at each step, [S, ...] without the last dimension."""
        return np.asarray(self.outputs.argmax(axis=-1), dtype=np.int64)

    def first_correct(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """The first step from which each prediction is right; -1 where none is. Labels [...] as `predictions()[0]`."""
        right = self.predictions() == np.asarray(labels)
        return np.where(right.any(axis=0), self.steps[right.argmax(axis=0)], -1).astype(np.int64)

    def learned(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """The first step after which each prediction stays right to the end; -1 where the last one is wrong."""
        right = self.predictions() == np.asarray(labels)
        since = len(right) - np.cumprod(right[::-1], axis=0).sum(axis=0)
        return np.where(since < len(right), self.steps[np.minimum(since, len(right) - 1)], -1).astype(np.int64)

    def num_flips(self) -> NDArray[np.int64]:
        """How often each prediction changed from one snapshot to the next."""
        return np.asarray((np.diff(self.predictions(), axis=0) != 0).sum(axis=0), dtype=np.int64)


def scrub(
    edited: Edited,
    steps: Sequence[int],
    weights_of: Callable[[int], Weights] | Mapping[int, Weights],
    *,
    inputs: Inputs | None = None,
    output: str | None = None,
    on_progress: Progress | None = None,
) -> Scrub:
    """Run the same input with the weights of every step; edits of inputs and activations stay, those of weights do not.

    Args:
        edited: the model and its input; an empty recipe is fine.
        steps: which; each once, any order.
        weights_of: the weights of a step, read one after the other.
        inputs: instead of the edited ones.
        output: path; None is the first.
        on_progress: called with (done, all) after each step.

    Raises:
        UsageError: no steps, or twice the same.
        ProgramError: the outputs' shapes differ between steps, or a step's weights do not fit.
    """
    ordered = sorted(set(steps))
    if not ordered or len(ordered) != len(steps):
        raise UsageError(
            f"steps should be one or more different ones; found {len(steps)} with {len(ordered)} different"
        )
    found = []
    for done, step in enumerate(ordered, start=1):
        weights = weights_of[step] if isinstance(weights_of, Mapping) else weights_of(step)
        result = edited.subject.run(inputs or edited.inputs, weights=weights, replace=edited.replace)
        found.append(as_array(chosen_output(result.outputs, output)))
        if found[-1].shape != found[0].shape:
            raise ProgramError(f"the output should have one shape at all steps; found {found[-1].shape} at step {step}")
        if on_progress is not None:
            on_progress(done, len(ordered))
    return Scrub(np.asarray(ordered, dtype=np.int64), np.stack(found))


def chosen_output(outputs: Mapping[str, object], path: str | None = None) -> Tensor:
    """An output by its path, or the first floating tensor. Raises UsageError."""
    tensors = {key: value for key, value in outputs.items() if isinstance(value, Tensor)}
    if path is None:
        path = next((key for key, value in tensors.items() if value.is_floating_point()), None)
    if path is None or path not in tensors:
        raise UsageError(f"an output should be one of {', '.join(map(repr, tensors)) or 'none'}; found {path!r}")
    return tensors[path]


def as_array(value: Tensor) -> NDArray[np.floating]:
    """A tensor's values on the CPU; dtypes that NumPy lacks come as float32."""
    value = value.detach().cpu()
    known = (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool)
    array: NDArray[np.floating] = (value if value.dtype in known else value.to(torch.float32)).numpy()
    return array
