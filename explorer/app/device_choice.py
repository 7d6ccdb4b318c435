"""Where models run: the devices that this machine may have."""

from __future__ import annotations

import os
import platform
import sys

from explorer.app import linked, links, state


def pick_device() -> str:
    """Draw the choice of where models run, and return it as PyTorch names it."""
    return linked.select("Runs on", links.DEVICE, _devices(), "cpu")


def asked_device() -> str:
    """Return what `pick_device` will say, before it is drawn."""
    asked = state.get(links.DEVICE)
    return asked if asked in _devices() else "cpu"


def _devices() -> dict[str, str]:
    """Devices are found without torch; one that PyTorch cannot use is told by the process that tries."""
    found = {"cpu": "CPU"}
    if os.path.exists("/proc/driver/nvidia/version"):
        found["cuda"] = "GPU (CUDA)"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found["mps"] = "GPU (Apple)"
    return found
