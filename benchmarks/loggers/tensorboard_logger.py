"""PyTorch's SummaryWriter, with its defaults; read by TensorBoard's EventAccumulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loggers import Logger


class TensorBoard(Logger):
    """One `add_scalar` a value, the only way there is for values that are drawn apart."""

    def load(self) -> str:
        """Import the writer."""
        import tensorboard
        from torch.utils.tensorboard import SummaryWriter

        self._writer_class = SummaryWriter
        return f"TensorBoard {tensorboard.__version__}"

    def open(self, folder: Path, names: list[str]) -> None:
        """Start the run."""
        self._writer = self._writer_class(str(folder))

    def log(self, values: dict[str, float], step: int) -> None:
        """Log each value."""
        add = self._writer.add_scalar
        for name, value in values.items():
            add(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()

    def read(self, folder: Path, metric: str) -> tuple[Any, Any]:
        """Read every point of the run, since EventAccumulator cannot read one metric alone."""
        from tensorboard.backend.event_processing import event_accumulator

        sizes = {event_accumulator.SCALARS: 0}
        accumulator = event_accumulator.EventAccumulator(str(folder), size_guidance=sizes)
        accumulator.Reload()
        if metric not in accumulator.Tags()["scalars"]:
            return np.empty(0, np.int64), np.empty(0)
        events = accumulator.Scalars(metric)
        return np.array([event.step for event in events]), np.array([event.value for event in events])


def make(name: str) -> Logger:
    """See `LOGGERS`."""
    return TensorBoard(name)
