"""Random numbers that a piece of code draws the same every time, without being noticed by whoever draws next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(device: torch.device, seed: int | None) -> Iterator[None]:
    """Seed PyTorch's generators of the CPU and of a device, and put them back after; None leaves them alone.

    Not `torch.manual_seed`: that also changes the generators of other devices, even of those not in use yet.
    """
    generators = generators_of(device) if seed is not None else []
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(int(seed or 0))
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def generators_of(device: torch.device) -> list[torch.Generator]:
    """The generators that work on a device draws from: the CPU's, and the device's own."""
    found: list[torch.Generator] = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        found.append(torch.cuda.default_generators[index])
    elif device.type == "mps":
        found.append(torch.mps._get_default_mps_generator())
    return found
