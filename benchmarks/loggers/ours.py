"""Experiment Explorer's recorder, as a user calls it. System metrics are off, as they are in every peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.loggers import Logger


class Ours(Logger):
    """One run."""

    def load(self) -> str:
        """Import the recorder."""
        import explorer

        self._recorder = explorer.Recorder
        return f"experiment-explorer {explorer.__version__}"

    def open(self, folder: Path, names: list[str]) -> None:
        """Start the run."""
        self._run = self._recorder("bench", root=folder, system_every_s=None, quiet=True)
        self.log = self._run.log

    def close(self) -> None:
        """Write everything, close, and let the recorder's own check of what it lost speak."""
        self._run.close()

    def read(self, folder: Path, metric: str) -> tuple[Any, Any]:
        """Read through the public API."""
        from explorer.reading.scalars import SeriesStore

        (run,) = (path.parent for path in folder.glob("*/run.json"))
        series = SeriesStore().series(run, metric)
        return series.step, series.value


def make(name: str) -> Logger:
    """See `LOGGERS`."""
    return Ours(name)
