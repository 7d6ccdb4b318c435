"""A file of weights that a user chose, beside the snapshots of a run. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from explorer.errors import UsageError

SUFFIXES: Final = ("safetensors", "pt", "pth", "bin", "ckpt")
_REMOTE: Final = ("\\\\", "//", "/\\", "\\/")


@dataclass(frozen=True)
class WeightsFile:
    """Where the weights are.

    Attributes:
        path: of a safetensors file, or of a checkpoint of `torch.save`, which is loaded as weights only.
        prefix: left out of each name that begins with it.
        reading: counts up when the user wants the file to be read again.
        title: what to call it; "" is the file's name.
    """

    path: str
    prefix: str = ""
    reading: int = 0
    title: str = ""

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.title or Path(self.path).name

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """Changes when the file does. Raises OSError."""
        found = Path(self.path).stat()
        return self.path, self.prefix, self.reading, found.st_size, found.st_mtime_ns


def local_path(text: str) -> str:
    """A path that a user typed, with `~` filled in. Nothing is opened.

    Raises:
        UsageError: it is not the whole path of a file on this machine, or ends like no file of weights.
    """
    text = text.strip().strip("\"'")
    if "://" in text or text.startswith(_REMOTE) or "\0" in text:
        raise UsageError(f"weights are read from this machine only; found {text[:80]!r}")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"there is no such home folder: {text[:80]!r}") from error
    if not path.is_absolute():
        raise UsageError(f"give the whole path of the file, such as {Path.home() / 'model.safetensors'}")
    if path.suffix.lstrip(".").lower() not in SUFFIXES:
        raise UsageError(
            f"a file of weights ends in {', '.join('.' + found for found in SUFFIXES)}; found {path.name!r}"
        )
    return str(path)
