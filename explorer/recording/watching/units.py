"""Units of an activation: which are dead, which are saturated.

A unit is a channel of a feature map or an entry of the last axis. It is active in an example when it is active at any
position of it, and dead when it is active in fewer than 1 % of the examples of the step (Amazon SageMaker Debugger's
DeadRelu rule counts the same way). It is saturated when more than half of its values are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

DEAD_SHARE = 0.01
SATURATED_SHARE = 0.5
_SMOOTH = ("gelu", "silu", "swish", "mish")
_NEVER_QUITE_ZERO = 1e-3

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Criterion:
    """When a value counts.

    Attributes:
        inactive: largest magnitude that counts as no activity: 0; for smooth functions, which come near it only, 1e-3.
        saturated: values outside of these two are saturated; None where nothing saturates.
    """

    inactive: float
    saturated: tuple[float, float] | None


@dataclass(frozen=True)
class UnitCounts:
    """Of one output of one module.

    Attributes:
        examples: in the batch.
        positions: values of a unit in one example.
        active: int64[units], examples in which the unit is active.
        saturated: int64[units], values that are saturated; None where nothing saturates.
    """

    examples: int
    positions: int
    active: Ints
    saturated: Ints | None


def criterion_of(module: nn.Module) -> Criterion:
    """What inactive and saturated mean for the output of this module."""
    if isinstance(module, nn.Tanh):
        return Criterion(0.0, (-0.97, 0.97))
    if isinstance(module, nn.Sigmoid):
        return Criterion(0.0, (0.03, 0.97))
    smooth = any(word in type(module).__name__.lower() for word in _SMOOTH)
    return Criterion(_NEVER_QUITE_ZERO if smooth else 0.0, None)


class Layouts:
    """Which axis of an output holds the units; remembers what it saw earlier in the same forward.

    Feature maps of four or five axes have them in axis 1, and so have the outputs of `...1d` modules; everything else
    in the last one. A function applied after such a module keeps its layout, which the shape tells.
    """

    def __init__(self) -> None:
        self._known: dict[torch.Size, int] = {}

    def axis(self, module: nn.Module, shape: torch.Size) -> int | None:
        """1 or the last axis; None for outputs without units."""
        last = len(shape) - 1
        if last < 1:
            return None
        if isinstance(module, nn.Linear | nn.LayerNorm | nn.Embedding | nn.MultiheadAttention):
            self._known[shape] = last
        elif isinstance(module, nn.modules.conv._ConvNd | nn.modules.batchnorm._NormBase):
            self._known[shape] = 1
        elif shape not in self._known:
            return 1 if last > 2 or type(module).__name__.endswith("1d") else last
        return self._known[shape]


def as_batch(output: Tensor, axis: int) -> Tensor:
    """The output as [examples, before, units, after], without a copy where that can be."""
    if output.dim() == 4 and axis == 1 and output.is_contiguous(memory_format=torch.channels_last):
        output, axis = output.permute(0, 2, 3, 1), 3
    shape = output.shape
    return output.reshape(shape[0], shape[1:axis].numel(), shape[axis], shape[axis + 1 :].numel())


def count_units(values: npt.NDArray[np.floating[Any]], criterion: Criterion) -> tuple[Ints, Ints]:
    """Active examples and saturated values of each unit, of an array [examples, before, units, after]."""
    active = values != 0 if criterion.inactive == 0 else np.abs(values) > criterion.inactive
    num_active = active.any(axis=(1, 3)).sum(axis=0, dtype=np.int64)
    if criterion.saturated is None:
        return num_active, np.zeros_like(num_active)
    low, high = criterion.saturated
    return num_active, ((values < low) | (values > high)).sum(axis=(0, 1, 3), dtype=np.int64)


def count_units_on_device(values: Tensor, criterion: Criterion) -> Tensor:
    """The same of a tensor on any device, without waiting for it: int64[2, units]."""
    active = values != 0 if criterion.inactive == 0 else values.abs() > criterion.inactive
    num_active = active.any(dim=3).any(dim=1).sum(dim=0)
    if criterion.saturated is None:
        return torch.stack([num_active, torch.zeros_like(num_active)])
    low, high = criterion.saturated
    return torch.stack([num_active, ((values < low) | (values > high)).sum(dim=(0, 1, 3))])


def joined_units(parts: Sequence[UnitCounts]) -> dict[str, int]:
    """The columns units, dead_units and saturated_units of all outputs together.

    Empty when they have no units in common: a module that is called on layers of different widths, or on no example.
    """
    examples = sum(part.examples for part in parts)
    if len({len(part.active) for part in parts}) != 1 or not examples or not len(parts[0].active):
        return {}
    active = np.sum([part.active for part in parts], axis=0)
    fields = {"units": len(active), "dead_units": int((active < DEAD_SHARE * examples).sum())}
    saturated = [part.saturated for part in parts if part.saturated is not None]
    if saturated:
        values = sum(part.examples * part.positions for part in parts)
        fields["saturated_units"] = int((np.sum(saturated, axis=0) > SATURATED_SHARE * values).sum())
    return fields
