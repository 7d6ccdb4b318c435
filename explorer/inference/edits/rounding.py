"""Weights as 8-bit numbers would hold them: rounded, and back in their own dtype."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_LARGEST: Final = {"int8": 127.0, "float8_e4m3fn": 448.0, "float8_e5m2": 57344.0}


def rounded(tensor: Tensor, to: str, scales: str) -> Tensor:
    """Round to `scale * q` with q an int8 from -127 to 127 or a float8; symmetric, so 0 stays 0.

    The scale is the largest magnitude over the largest q: of the tensor, or of each row of dimension 0 ("channel";
    a tensor of fewer than two dimensions has one scale). Computed in float32, returned in the tensor's dtype.

    Args:
        tensor: floating, any shape; values that are not finite make their scale, and so their row, NaN.
        to: "int8", "float8_e4m3fn" or "float8_e5m2".
        scales: "tensor" or "channel".
    """
    values = tensor.to(torch.float32)
    if not values.numel():
        return tensor
    rows = values.reshape(values.shape[0], -1) if scales == "channel" and values.dim() > 1 else values.reshape(1, -1)
    scale = rows.abs().amax(dim=1, keepdim=True) / _LARGEST[to]
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    steps = (rows / safe).clamp(-_LARGEST[to], _LARGEST[to])
    held = torch.round(steps) if to == "int8" else steps.to(getattr(torch, to)).to(torch.float32)
    return (held * safe).reshape(values.shape).to(tensor.dtype)
