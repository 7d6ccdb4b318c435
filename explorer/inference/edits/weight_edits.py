"""What edits of weights do, on a mapping of names to tensors. Pure and out of place: no tensor given is written to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.edits.kinds import weights as kinds
from explorer.inference.edits.kinds.places import WeightTarget, describe_target, parse_target
from explorer.inference.edits.rounding import rounded

Weights = Mapping[str, Tensor]
Where = tuple[slice, ...]
# (tensor's name, values at the target, where those are in the tensor) -> new values; None where it does not apply.
Change = Callable[[str, Tensor, Where], Tensor | None]


class Snapshots(Protocol):
    """Where edits find the weights of other steps and runs."""

    def weights(self, run: str, step: int | None) -> Weights:
        """The weights of a step; run "" is the run at hand, step None its first snapshot.

        Raises:
            ExplorerError: there is no such run or snapshot.
        """
        ...


class NoSnapshots:
    """For a model that comes alone: there are no other steps."""

    def weights(self, run: str, step: int | None) -> Weights:
        """Raise UsageError, since there are none."""
        asked = "the first snapshot" if step is None else f"step {step:,}"
        raise UsageError(f"this edit needs {asked}{f' of run {run}' if run else ''}; no snapshots are at hand")


def edit_weights(
    weights: Weights,
    edit: kinds.WeightEdit,
    *,
    snapshots: Snapshots | None = None,
    buffers: Collection[str] = (),
    ties: Sequence[Sequence[str]] = (),
) -> dict[str, Tensor]:
    """The weights after one edit: a new mapping that shares what did not change.

    Args:
        weights: by name.
        edit: what to do.
        snapshots: for edits that take values from elsewhere.
        buffers: names that are no parameters; a module's arithmetic leaves them alone.
        ties: names that are one tensor, which stay one.

    Raises:
        UsageError: the target is unknown, out of range, or nothing that the edit can work on.
    """
    target = parse_target(edit.target)
    carries = isinstance(edit, kinds.ResetWeights | kinds.TakeWeights | kinds.InterpolateWeights)
    target, names = find_targets(weights, target, buffers=() if carries else buffers)
    direct = target.name in weights
    twin = {name: group[0] for group in ties for name in group}
    change = _change(edit, snapshots or NoSnapshots())
    new = dict(weights)
    done: set[str] = set()
    reasons: list[str] = []
    worked = False
    for name in names:
        if twin.get(name, name) in done:
            continue
        done.add(twin.get(name, name))
        if not carries and not weights[name].is_floating_point():
            reasons.append(f"{name} holds {_dtype(weights[name])}")
            continue
        edited = _at_index(weights[name], name, target.index, change)
        if edited is None:
            reasons.append(f"{name} has the shape {tuple(weights[name].shape)}")
            continue
        worked = True
        for other in next((group for group in ties if name in group), (name,)):
            if other in new:
                new[other] = edited
    if not worked:
        what = "" if direct else "anything in "
        raise UsageError(f"{edit.kind} cannot work on {what}{describe_target(edit.target)}: {'; '.join(reasons[:3])}")
    return new


def find_targets(
    weights: Weights, target: WeightTarget, *, buffers: Collection[str] = ()
) -> tuple[WeightTarget, list[str]]:
    """The names of the tensors that a target means: itself, or those of a module without `buffers`.

    A tensor whose own name ends like an index is found before an index is.

    Raises:
        UsageError: there are none, or an index is given for a module.
    """
    whole = f"{target.name}[{','.join(':' if i is None else str(i) for i in target.index)}]" if target.index else ""
    if whole in weights:
        return WeightTarget(whole), [whole]
    if target.name in weights:
        return target, [target.name]
    inside = [name for name in weights if target.name == "" or name.startswith(target.name + ".")]
    chosen = [name for name in inside if name not in buffers] or inside
    if not chosen:
        raise UsageError(f"a target should be a tensor or a module of the model; found {target.name!r}")
    if target.index:
        raise UsageError(f"an index needs a single tensor; found the module {target.name!r}")
    return target, chosen


def _at_index(tensor: Tensor, name: str, index: tuple[int | None, ...], change: Change) -> Tensor | None:
    if not index:
        return change(name, tensor, ())
    if len(index) > tensor.dim():
        raise UsageError(f"{name} has {tensor.dim()} dimensions; found an index of {len(index)}")
    for dim, (place, size) in enumerate(zip(index, tensor.shape, strict=False)):
        if place is not None and place >= size:
            raise UsageError(f"{name} has the indices 0 to {size - 1} in dimension {dim}; found {place}")
    where = tuple(slice(None) if place is None else slice(place, place + 1) for place in index)
    part = change(name, tensor[where], where)
    if part is None:
        return None
    whole = tensor.clone()
    whole[where] = part
    return whole


def _change(edit: kinds.WeightEdit, snapshots: Snapshots) -> Change:
    match edit:
        case kinds.ScaleWeights():
            return lambda _name, values, _where: values * edit.factor
        case kinds.ZeroWeights():
            return lambda _name, values, _where: torch.zeros_like(values)
        case kinds.SetWeights():
            return lambda _name, values, _where: torch.full_like(values, edit.value)
        case kinds.PruneWeights():
            return lambda _name, values, _where: pruned(values, edit.share)
        case kinds.AddNoise():
            return lambda name, values, _where: noisy(name, values, edit.relative_sd, edit.seed)
        case kinds.RoundWeights():
            return lambda _name, values, _where: rounded(values, edit.to, edit.scales)
        case kinds.TruncateRank():
            return lambda _name, values, _where: truncated(values, edit.rank)
        case kinds.ResetWeights():
            return _carried(snapshots.weights("", None), 1.0)
        case kinds.TakeWeights():
            return _carried(snapshots.weights(edit.run, edit.step), 1.0)
        case kinds.InterpolateWeights():
            return _carried(snapshots.weights(edit.run, edit.step), edit.t)
    raise UsageError(f"an edit of weights was expected; found {edit.kind}")


def pruned(values: Tensor, share: float) -> Tensor:
    """Set the `round(share * n)` smallest magnitudes to 0; of equal ones the first ones."""
    count = round(share * values.numel())
    if not count:
        return values
    flat = values.flatten()
    magnitudes = flat.abs()
    largest_pruned = magnitudes.kthvalue(count).values  # a tenth of the time of sorting
    below = magnitudes < largest_pruned
    equal = (magnitudes == largest_pruned).nonzero().flatten()[: count - int(below.sum())]
    return flat.masked_fill(below, 0.0).index_fill(0, equal, 0.0).reshape(values.shape)


def noisy(name: str, values: Tensor, relative_sd: float, seed: int) -> Tensor:
    """Add Gaussian noise whose root mean square is `relative_sd` times that of the values.

    Drawn on the CPU in float32 from a generator seeded by the tensor's name and the seed, so that it is the same on
    every device and for every set of tensors edited together: `crc32(name) * 2**32 + seed`.
    """
    if relative_sd == 0 or not values.numel():
        return values
    generator = torch.Generator().manual_seed(((zlib.crc32(name.encode()) << 32) + seed) & (2**63 - 1))
    noise = torch.randn(values.shape, generator=generator)
    size = float(torch.linalg.vector_norm(values.detach().to(torch.float32))) * relative_sd
    noise *= size / float(torch.linalg.vector_norm(noise))
    return values + noise.to(values.device, values.dtype)


def truncated(values: Tensor, rank: int) -> Tensor | None:
    """The nearest matrix [first dimension, rest] of at most this rank; None for a tensor of fewer dimensions."""
    if values.dim() < 2:
        return None
    matrix = values.reshape(values.shape[0], -1)
    if rank >= min(matrix.shape):
        return values
    wide = matrix if matrix.dtype == torch.float64 else matrix.to(torch.float32)
    left, singular, right = torch.linalg.svd(wide, full_matrices=False)
    low: Tensor = (left[:, :rank] * singular[:rank]) @ right[:rank]
    return low.reshape(values.shape).to(values.dtype)


def interpolated(values: Tensor, other: Tensor, t: float) -> Tensor:
    """`(1 - t) * values + t * other`; exactly one of them at 0 and 1, and the same bits where both are equal.

    Whole numbers jump to the other at t = 1.
    """
    if t == 0:
        return values
    if t == 1:
        return other
    if not (values.is_floating_point() or values.is_complex()):
        return values
    # Rounding would change equal values, such as frozen ones, and infinities must stay what they are.
    return torch.where(values == other, values, (1 - t) * values + t * other)


def _carried(source: Weights, t: float) -> Change:
    def change(name: str, values: Tensor, where: Where) -> Tensor:
        other = source.get(name)
        if other is None:
            raise UsageError(f"the other snapshot should have the tensor {name!r}; it does not")
        part = other[where] if len(where) <= other.dim() else other
        if part.shape != values.shape:
            raise UsageError(f"{name} should have the same shape in the other snapshot; found {tuple(other.shape)}")
        return interpolated(values, part.to(values.device, values.dtype), t)

    return change


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def changed_names(before: Weights, after: Weights) -> Iterator[str]:
    """Names whose tensors were replaced, in order; a no-op replaces by equal values and counts as none."""
    for name, tensor in after.items():
        old = before[name]
        if tensor is not old and not torch.equal(tensor, old):
            yield name
