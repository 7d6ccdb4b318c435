"""A file of weights that a user chose, beside the snapshots of a run. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WeightsFile:
    """Where the weights are.

    Attributes:
        path: of a safetensors file, or of a checkpoint of `torch.save`, which is loaded as weights only.
        prefix: left out of each name that begins with it.
    """

    path: str
    prefix: str = ""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.path).name

    @property
    def identity(self) -> tuple[str, str, int, int]:
        """Changes when the file does. Raises OSError."""
        found = Path(self.path).stat()
        return self.path, self.prefix, found.st_size, found.st_mtime_ns
