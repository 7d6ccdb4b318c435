"""Whether a run has a model that the page Inference can run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from explorer.app import shell

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo


def has_model(info: RunInfo) -> bool:
    """Whether its model was captured, or can be made by the code that the command line named."""
    return _has(info, "program") or (shell.factory() is not None and _has(info, "params"))


def can_be_run(info: RunInfo) -> bool:
    """Whether it has a model, and weights to run it with."""
    return _has(info, "params") and has_model(info)


def _has(info: RunInfo, folder: str) -> bool:
    return os.path.isdir(os.path.join(info.path, folder))
