"""The loggers that are compared, each behind the same four methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

# Name -> (virtual environment, module here, words for the table). An environment None is the one we run in.
LOGGERS: dict[str, tuple[str | None, str, str]] = {
    "nothing": (None, "floor", "an empty call"),
    "floor": (None, "floor", "list append, one Parquet at the end"),
    "mapped": (None, "floor", "struct.pack_into a file mapping"),
    "explorer": (None, "ours", "Explorer"),
    "tensorboard": ("tensorboard", "tensorboard_logger", "TensorBoard"),
    "trackio": ("trackio", "trackio_logger", "Trackio"),
    "csvlogger": ("lightning", "csv_logger", "CSVLogger"),
}
PEERS = ("tensorboard", "trackio", "csvlogger")


class Logger(ABC):
    """What a trial asks of a logger. `load` imports the library, so that its cost can be told apart.

    Attributes:
        log: `log(values, step)` logs some metrics of one step; a method, or set by `open`.
    """

    log: Callable[[dict[str, float], int], None]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def load(self) -> str:
        """Import the library; return its version."""

    @abstractmethod
    def open(self, folder: Path, names: list[str]) -> None:
        """Start one run that is kept below this folder."""

    @abstractmethod
    def close(self) -> None:
        """End the run: everything is with the operating system afterwards."""

    @abstractmethod
    def read(self, folder: Path, metric: str) -> tuple[Any, Any] | None:
        """Steps and values of a metric, whatever the state of the run; None where nothing can be read back."""


def make(name: str) -> Logger:
    """The logger of that name; its library is not imported yet."""
    module = import_module(f"benchmarks.loggers.{LOGGERS[name][1]}")
    logger: Logger = module.make(name)
    return logger
