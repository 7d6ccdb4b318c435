"""Whether two sets of weights are the same, for almost no cost: a checksum of a few numbers of each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

_NUMBERS_EACH: Final = 64


def fingerprint(weights: Mapping[str, Tensor]) -> int:
    """A checksum (crc32) of the names and of up to 64 evenly spaced numbers of each tensor, as float64.

    A step of an optimizer changes it; that two different steps have the same is possible and unlikely.
    """
    crc = 0
    for name in sorted(weights):
        flat = weights[name].detach().reshape(-1)
        # Moved as they are: some devices have no float64.
        some = flat[:: max(1, flat.numel() // _NUMBERS_EACH)][:_NUMBERS_EACH].cpu()
        wide = some.to(torch.complex128 if some.is_complex() else torch.float64).contiguous()
        crc = zlib.crc32(wide.view(torch.uint8).numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return crc
