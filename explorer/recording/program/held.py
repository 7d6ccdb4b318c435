"""The inputs of one call, kept apart from the training until the model is captured with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from explorer.recording.program.staging import members_of

MAX_ROWS: Final = 16
"""Examples of a batch that are captured with, where it can be told which part of the inputs one example is."""
MAX_WHOLE_BYTES: Final = 64 * 2**20
"""A batch that can be cut is kept whole up to this size."""
MAX_BYTES: Final = 256 * 2**20

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class TooLarge(ValueError):
    """The inputs cannot be kept: the message says how large they are."""


def hold(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Inputs]:
    """Copies of the inputs, on their device, without gradients; enqueued there and not waited for.

    A batch is cut where every tensor has the same first size: that is then taken for the number of examples.

    Returns:
        What to capture with, in order: the first examples; all of them, for a model that takes only batches of one
        size. Nothing where no input is a tensor.

    Raises:
        TooLarge: more than 256 MiB would be kept.
    """
    given: Inputs = (tuple(args), dict(kwargs))
    tensors = _tensors(given)
    if not tensors:
        return []
    rows, size = _num_rows(tensors), sum(tensor.nbytes for tensor in tensors)
    is_cut = rows is not None and rows > MAX_ROWS
    few_bytes = size * MAX_ROWS // rows if is_cut and rows else size
    if few_bytes > MAX_BYTES:
        raise TooLarge(f"it has {size / 2**20:,.0f} MiB, and at most {MAX_BYTES / 2**20:.0f} MiB are kept")
    # Out of inference mode and without a history: what is kept becomes the example of an export.
    with torch.inference_mode(False), torch.no_grad():
        if is_cut and size > MAX_WHOLE_BYTES:
            return [_map(lambda tensor: _first(tensor).clone(), given)]
        whole = _map(torch.clone, given)
        return [_map(_first, whole), whole] if is_cut else [whole]


def _num_rows(tensors: Sequence[Tensor]) -> int | None:
    """How many examples there are; None where that cannot be told, or where a cut could do harm.

    Whole numbers may be places within the batch, such as those of a graph's nodes. Looked up in a batch that is cut,
    they end a process on an accelerator, where it would be an ordinary error on a CPU: there only tokens alone are cut.
    """
    sizes = {tensor.shape[0] for tensor in tensors if tensor.dim()}
    if len(sizes) != 1:
        return None
    on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    kinds = {tensor.is_floating_point() or tensor.is_complex() for tensor in tensors if tensor.dtype != torch.bool}
    return sizes.pop() if on_cpu or len(kinds) == 1 else None


def _tensors(given: Inputs) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _map(note, given)
    return found


def _map(do: Callable[[Tensor], Tensor], given: Inputs) -> Inputs:
    """The inputs with something else in place of each tensor."""

    def replace(leaf: Any) -> Any:  # noqa: ANN401
        if isinstance(leaf, Tensor):
            return do(leaf.detach())
        if isinstance(leaf, dict):  # of a kind that PyTorch does not look into
            return {key: pytree.tree_map(replace, member) for key, member in leaf.items()}
        members = members_of(leaf)
        if members is None:
            return leaf
        tensors, build = members
        return build({name: do(tensor.detach()) for name, tensor in tensors.items()})

    replaced: Inputs = pytree.tree_map(replace, given)
    return replaced


def _first(tensor: Tensor) -> Tensor:
    return tensor[:MAX_ROWS] if tensor.dim() else tensor
