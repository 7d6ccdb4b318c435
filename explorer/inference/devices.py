"""Where a model can run here, and what happens when it does not fit there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from explorer.errors import OutOfMemory, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Device:
    """A device of this machine: PyTorch's name of it, a label for people, its memory in bytes (None: not known)."""

    name: str
    label: str
    memory_bytes: int | None


def available_devices() -> list[Device]:
    """What models can run on here, fastest kind first: CUDA devices, Apple's GPU, the CPU."""
    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found.append(Device(f"cuda:{index}", properties.name, properties.total_memory))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", None))
    return [*found, Device("cpu", "CPU", None)]


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or the first of `available_devices`. Raises UsageError for one that is not there."""
    names = [device.name for device in available_devices()]
    if name is None:
        return torch.device(names[0])
    if name not in names and not (name == "cuda" and "cuda:0" in names):
        raise UsageError(f"there is no device {name!r} here; there are {', '.join(names)}")
    return torch.device("cuda:0" if name == "cuda" else name)


def run_or_fall_back(run: Callable[[torch.device], T], device: torch.device) -> tuple[T, torch.device, str]:
    """Run something on a device, and on the CPU where the device's memory is too small.

    Returns:
        What it gave, where it ran, and a sentence for the user when that is not where it should; else "".

    Raises:
        OutOfMemory: the CPU has too little memory as well. And whatever `run` raises.
    """
    try:
        return run(device), device, ""
    except OutOfMemory as error:
        if device.type == "cpu":
            raise
        message = f"{error}. It ran on the CPU instead"
    if device.type == "cuda":
        torch.cuda.empty_cache()
    cpu = torch.device("cpu")
    return run(cpu), cpu, message
