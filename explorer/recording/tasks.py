"""Work of the writer thread besides scalars: statistics of tensors, snapshots."""

from __future__ import annotations

from typing import Any, Protocol


class Task(Protocol):
    """One kind of work, done by the writer thread alone; the training's threads hand it over without a lock.

    `tick` and `finish` may raise OSError: it is said once, and the call is made again later. They go on where they
    stopped. Any other error is said as a defect of the recorder and costs only this work.

    Attributes:
        name: its key in the summary, and its name in warnings.
    """

    name: str

    def tick(self) -> None:
        """Do what there is to do; called every 50 ms, so it is cheap when there is nothing."""

    def finish(self) -> None:
        """Write everything; the recorder is being closed. Called again when it has raised OSError."""

    def describe(self) -> dict[str, Any]:
        """What the summary says of it: counts, and what could not be recorded."""
