"""Trackio, local and offline; read by its own storage class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loggers import Logger


class Trackio(Logger):
    """One run of one project."""

    def load(self) -> str:
        """Import it, offline, keeping its files where the trial runs."""
        os.environ |= {
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TRACKIO_DIR": os.path.join(os.getcwd(), "run"),
        }
        import trackio

        self._trackio = trackio
        return f"Trackio {trackio.__version__}"

    def open(self, folder: Path, names: list[str]) -> None:
        """Start the run; samples of the machine are off."""
        self._trackio.init(project="bench", name="run", embed=False, auto_log_gpu=False, auto_log_cpu=False)

    def log(self, values: dict[str, float], step: int) -> None:
        """Log a row."""
        self._trackio.log(values, step=step)

    def close(self) -> None:
        """Wait for its thread."""
        self._trackio.finish()

    def read(self, folder: Path, metric: str) -> tuple[Any, Any]:
        """Read one metric."""
        from trackio.sqlite_storage import SQLiteStorage

        found = SQLiteStorage.get_metric_values("bench", "run", metric)
        found.sort(key=lambda point: point["step"])
        steps = np.array([point["step"] for point in found], np.int64)
        return steps, np.array([point["value"] for point in found], np.float64)


def make(name: str) -> Logger:
    """See `LOGGERS`."""
    return Trackio(name)
