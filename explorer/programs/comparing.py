"""How far two outputs of a model are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

TOLERANCE: Final = 1e-3
"""Other kernels for the same operators round differently, at most so much of the largest output."""


def agree(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether two outputs have the same paths, and values that differ by rounding at most."""
    return found.keys() == wanted.keys() and all(is_close(value, wanted[path]) for path, value in found.items())


def is_close(one: object, other: object) -> bool:
    """Whether two values differ by rounding at most."""
    apart = difference(one, other)
    return apart is None or apart <= TOLERANCE * max(1.0, largest(other))


def difference(one: object, other: object) -> float | None:
    """The largest absolute difference of two values; infinite where they are of another kind, shape or text.

    Two NaN, or two equal infinities, do not differ. None for values that are equal and no numbers.
    """
    if isinstance(one, bool | int | float) and isinstance(other, bool | int | float):
        return _apart(torch.tensor(float(one)), torch.tensor(float(other)))
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return None if type(one) is type(other) and one == other else math.inf
    return math.inf if one.shape != other.shape or one.dtype != other.dtype else _apart(one, other)


def _apart(one: Tensor, other: Tensor) -> float:
    if not one.numel() or torch.equal(one, other):
        return 0.0
    wide = torch.complex128 if one.is_complex() else torch.float64
    # On the CPU: some devices have no float64.
    first, second = one.detach().cpu().to(wide), other.detach().cpu().to(wide)
    apart = (first - second).abs()
    apart[(first == second) | (first.isnan() & second.isnan())] = 0.0
    return math.inf if bool(apart.isnan().any()) else float(apart.max())


def largest(value: object) -> float:
    """The largest finite magnitude in a value; 0 where there is none."""
    if isinstance(value, bool | int | float):
        return abs(float(value)) if math.isfinite(value) else 0.0
    if not isinstance(value, Tensor) or not value.numel():
        return 0.0
    magnitudes = value.detach().abs().cpu().to(torch.float64)
    finite = magnitudes[magnitudes.isfinite()]
    return float(finite.max()) if finite.numel() else 0.0
