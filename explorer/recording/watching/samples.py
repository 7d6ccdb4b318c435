"""A few values of a large tensor, always the same ones, to compare it with itself at another step.

They are taken at a prime stride: any other can fall in step with the rows of a matrix, and then the values of one
column stand for all.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SAMPLE_VALUES = 16_384
"""A norm that is worked out from these is off by some 0.6 % (one standard deviation, of normal values)."""
_PIECE = 1 << 15  # in main memory, torch starts threads to copy more


@lru_cache(maxsize=4096)
def stride_for(n: int, limit: int) -> int:
    """1 for at most `limit` values, else the smallest prime that leaves at most `limit` of n.

    Example:
        >>> stride_for(1_000_000, 16_384)
        67
    """
    stride = -(-n // limit)
    while stride > 1 and any(stride % divisor == 0 for divisor in range(2, math.isqrt(stride) + 1)):
        stride += 1
    return max(stride, 1)


def view_sample(values: Tensor, limit: int) -> Tensor:
    """At most `limit` of a flat tensor's values, without a copy."""
    return values[:: stride_for(values.numel(), limit)]


def take_sample(values: Tensor, limit: int) -> Tensor:
    """A copy of at most `limit` of a flat tensor's values, on its device."""
    chosen = view_sample(values, limit)
    sample = torch.empty(len(chosen), dtype=values.dtype, device=values.device)
    for start in range(0, len(chosen), _PIECE):
        sample[start : start + _PIECE].copy_(chosen[start : start + _PIECE])
    return sample


def cosine(product: float, square_a: float, square_b: float) -> float | None:
    """From the inner products of two vectors; None where one is zero, NaN where one is not finite.

    Example:
        >>> cosine(2.0, 1.0, 16.0)
        0.5
    """
    if square_a == 0 or square_b == 0:
        return None
    found = product / math.sqrt(square_a) / math.sqrt(square_b)
    return max(-1.0, min(1.0, found)) if math.isfinite(found) else math.nan
