"""Lightning's CSVLogger, which flushes every 100 steps; read with the csv module."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loggers import Logger


class CsvLogger(Logger):
    """One metrics.csv."""

    def load(self) -> str:
        """Import Lightning."""
        import pytorch_lightning
        from pytorch_lightning.loggers import CSVLogger

        self._logger_class = CSVLogger
        return f"Lightning {pytorch_lightning.__version__}"

    def open(self, folder: Path, names: list[str]) -> None:
        """Start the run."""
        self._logger = self._logger_class(str(folder), name="run", version=0)
        _ = self._logger.experiment  # makes the folder

    def log(self, values: dict[str, float], step: int) -> None:
        """Log a row."""
        self._logger.log_metrics(values, step)

    def close(self) -> None:
        """Write the rest."""
        self._logger.finalize("success")

    def read(self, folder: Path, metric: str) -> tuple[Any, Any]:
        """Read one column; a torn last line counts as not there."""
        path = folder / "run" / "version_0" / "metrics.csv"
        if not path.exists():
            return np.empty(0, np.int64), np.empty(0)
        with path.open(newline="") as file:
            whole = [row for row in csv.DictReader(file) if row.get("step") and all(row.values())]
        return np.array([int(row["step"]) for row in whole], np.int64), np.array([float(row[metric]) for row in whole])


def make(name: str) -> Logger:
    """See `LOGGERS`."""
    return CsvLogger(name)
