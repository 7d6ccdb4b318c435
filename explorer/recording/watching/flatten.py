"""Any tensor as a flat run of ordinary numbers, or the reason why it is not one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_PLAIN_TYPES: Final = (Tensor, torch.nn.Parameter)
_PLAIN_DTYPES: Final = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class NotMeasurable(Exception):
    """The tensor holds no numbers that statistics could be made of; the message says why."""


@dataclass(frozen=True)
class Flat:
    """The values of a tensor.

    Attributes:
        values: one-dimensional, contiguous, real and of a floating type; in the order in which they lie in memory.
        implicit_zeros: zeros of a sparse tensor, which `values` does not hold.
    """

    values: Tensor
    implicit_zeros: int = 0


def flatten(tensor: Tensor) -> Flat:
    """The values of a tensor, without a copy wherever its memory has no gaps. No device is waited for.

    Complex numbers count as two real ones. Of a tensor that is sharded over processes it is this process's part.

    Raises:
        NotMeasurable: it is on the meta device, quantised, nested, not initialised yet, or holds no floats.
    """
    if _is_plain(tensor):
        return Flat(tensor.detach().reshape(-1))
    if torch.nn.parameter.is_lazy(tensor):
        raise NotMeasurable("it is not initialised yet")
    tensor = tensor.detach()
    local = getattr(tensor, "to_local", None)
    if local is not None:
        tensor = local()
    if tensor.is_meta:
        raise NotMeasurable("it is on the meta device, which holds no values")
    if tensor.is_quantized:
        raise NotMeasurable("it is quantised")
    if tensor.is_nested:
        raise NotMeasurable("it is a nested tensor")
    implicit_zeros = 0
    if tensor.layout is not torch.strided:
        if tensor.layout is not torch.sparse_coo or tensor.device.type != "cpu":
            raise NotMeasurable(f"its layout is {tensor.layout}, which needs a device to be waited for")
        dense = tensor.numel()
        tensor = tensor.coalesce().values()
        implicit_zeros = dense - tensor.numel()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if not tensor.is_floating_point():
        raise NotMeasurable(f"it holds {str(tensor.dtype).removeprefix('torch.')}, no floating-point numbers")
    return Flat(_in_memory_order(tensor), implicit_zeros)


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is what nearly all are: the questions of `flatten` would take 10 us of each look at each tensor."""
    return (
        type(tensor) in _PLAIN_TYPES
        and tensor.dtype in _PLAIN_DTYPES
        and tensor.layout is torch.strided
        and not (tensor.is_meta or tensor.is_nested)
        and tensor.is_contiguous()
    )


def _in_memory_order(tensor: Tensor) -> Tensor:
    if not tensor.is_contiguous():
        strides = tensor.stride()
        order = sorted(range(tensor.dim()), key=lambda axis: (-strides[axis], -tensor.shape[axis]))
        tensor = tensor.permute(order)
    return tensor.reshape(-1)
