"""What edits of activations do: functions of a node's value, for the interpreter's `replace`. Out of place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.edits.kinds import activations as kinds
from explorer.inference.edits.kinds.places import Part, parse_part

Replace = Callable[[Tensor], Tensor]


class Values(Protocol):
    """Where edits find the values that a node has elsewhere."""

    def probe(self, node: str) -> Tensor:
        """The node's value over the probe batch, [N, ...]. Raises UsageError where there is no probe batch."""
        ...

    def elsewhere(self, node: str, example: int | None, step: int | None, run: str) -> Tensor:
        """The node's value for a recorded example, or with other weights. Raises ExplorerError."""
        ...


def replacement(edit: kinds.ActivationEdit, values: Values) -> Replace:
    """The function that does an edit. What it needs from elsewhere is computed now, once.

    Raises:
        UsageError: when called: the part is out of range, or a value from elsewhere does not fit.
    """
    return _change(edit, values, parse_part(edit.part))


def chained(first: Replace, then: Replace) -> Replace:
    """Two edits of one node, in order."""
    return lambda value: then(first(value))


def along(dim: int, change: Replace) -> Replace:
    """A change that has the batch as its first dimension, for a value that has it as dimension `dim`."""
    return change if dim == 0 else lambda value: change(value.movedim(dim, 0)).movedim(0, dim)


def _change(edit: kinds.ActivationEdit, values: Values, part: Part | None) -> Replace:
    match edit:
        case kinds.ScaleActivation():
            return lambda value: edit_part(value, part, lambda inner: inner * edit.factor)
        case kinds.ClampActivation():
            return lambda value: edit_part(value, part, lambda inner: inner.clamp(edit.low, edit.high))
        case kinds.Ablate(by="zero"):
            return lambda value: edit_part(value, part, torch.zeros_like)
        case kinds.Ablate(by="mean"):
            probe = values.probe(edit.node)
            return lambda value: put_part(value, part, mean_like(probe, value, edit.node))
        case kinds.Ablate():
            probe = values.probe(edit.node)
            return lambda value: put_part(value, part, resampled(probe, value, edit.node, edit.seed))
        case kinds.Patch():
            other = values.elsewhere(edit.node, edit.example, edit.step, edit.run)
            return lambda value: put_part(value, part, fitted(other, value, edit.node))
    raise UsageError(f"an edit of activations was expected; found {edit.kind}")


def part_index(value: Tensor, part: Part) -> tuple[Tensor, tuple[slice | Tensor, ...]]:
    """A view of a value and the index of a part of it: `view[index]` is the part.

    Dimension 0 is the batch (see `along`). Units are the last dimension; channels dimension 1; positions dimension 1
    of [B, T, D], 2 of [B, heads, T, d]; heads dimension 1 of [B, heads, T, d], or `num_heads` equal pieces of the last
    dimension.

    Raises:
        UsageError: the value has no such dimension, or an index is out of range.
    """
    view, dim = value, {"unit": -1, "channel": 1, "position": 2 if value.dim() == 4 else 1, "head": 1}[part.kind]
    if part.kind == "head" and part.num_heads:
        if value.shape[-1] % part.num_heads:
            raise UsageError(f"{value.shape[-1]} features cannot be {part.num_heads} heads of one size")
        size = value.shape[-1] // part.num_heads
        view, dim = value.reshape(*value.shape[:-1], part.num_heads, size), value.dim() - 1
    elif part.kind == "head" and value.dim() != 4:
        raise UsageError(f"heads of a value of {value.dim()} dimensions need their number, as in head:2/12")
    least = {"unit": 2, "channel": 2, "position": 3, "head": 2}[part.kind]
    if value.dim() < least:
        raise UsageError(f"a {part.kind} needs a value of at least {least} dimensions; found {tuple(value.shape)}")
    dim %= view.dim()
    if max(part.indices) >= view.shape[dim]:
        raise UsageError(f"the value has the {part.kind}s 0 to {view.shape[dim] - 1}; found {max(part.indices)}")
    chosen = torch.tensor(part.indices, device=value.device)
    return view, (*(slice(None),) * dim, chosen)


def edit_part(value: Tensor, part: Part | None, change: Replace) -> Tensor:
    """The value with a change of a part of it; None is all."""
    if part is None:
        return change(value)
    view, index = part_index(value, part)
    new = view.clone()
    new[index] = change(view[index])
    return new.reshape(value.shape)


def put_part(value: Tensor, part: Part | None, other: Tensor) -> Tensor:
    """The value with a part of it, or all (None), taken from another value of the same shape."""
    if part is None:
        return other
    view, index = part_index(value, part)
    new = view.clone()
    new[index] = other.reshape(view.shape)[index]
    return new.reshape(value.shape)


def mean_like(probe: Tensor, value: Tensor, node: str) -> Tensor:
    """The mean over a probe batch [N, ...], for every example of `value`.

    Dimensions whose sizes differ, as the positions of texts of other lengths do, are averaged over, too.
    """
    _check_filled(probe, node)
    if probe.dim() != value.dim():
        raise _unfit(probe, value, node)
    mean = probe.mean(dim=0, keepdim=True, dtype=torch.promote_types(probe.dtype, torch.float32))
    for dim in range(1, value.dim()):
        if mean.shape[dim] != value.shape[dim]:
            mean = mean.mean(dim=dim, keepdim=True)
    return mean.to(value.device, value.dtype).expand_as(value)


def resampled(probe: Tensor, value: Tensor, node: str, seed: int) -> Tensor:
    """Values of examples drawn from a probe batch, one for each example of `value`, drawn on the CPU by the seed."""
    _check_filled(probe, node)
    if probe.shape[1:] != value.shape[1:]:
        raise _unfit(probe, value, node)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(probe), (len(value),), generator=generator)
    return probe[chosen.to(probe.device)].to(value.device, value.dtype)


def fitted(other: Tensor, value: Tensor, node: str) -> Tensor:
    """Another run's value in the place of this one; a single example stands for a whole batch."""
    if other.shape[1:] != value.shape[1:] or len(other) not in (1, len(value)):
        raise _unfit(other, value, node)
    return other.to(value.device, value.dtype).expand_as(value)


def _check_filled(probe: Tensor, node: str) -> None:
    """A part that none of the examples is sent through, such as an expert, has no mean. Raises UsageError."""
    if not len(probe):
        raise UsageError(f"the recorded examples leave {node} without any value to put in; ablate it by zero instead")


def _unfit(other: Tensor, value: Tensor, node: str) -> UsageError:
    return UsageError(
        f"the value put into {node} should have the shape {tuple(value.shape)}, or one example of it; found "
        f"{tuple(other.shape)}: take it from an example of the same size, or edit another value"
    )
