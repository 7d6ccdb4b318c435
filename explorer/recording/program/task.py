"""Writes a captured program: constants, samples, then the program itself, whose presence says that all are there."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from explorer.recording.program.capture import Capture
from explorer.recording.program.samples import About, Samples, samples_of
from explorer.storage.disk import Disk
from explorer.storage.layout import FORMAT_VERSION, RunPaths
from explorer.storage.program_file import NO_ROUTE, write_program
from explorer.storage.snapshots import write_snapshot

Asked = Literal["asked", "first batch"]
"""Why it was captured: `Recorder.program` was called, or `Recorder.watch` saw a first batch."""


@dataclass(frozen=True)
class _Captured:
    capture: Capture
    about: About
    step: int | None
    asked: Asked
    pause_s: float


class ProgramTask:
    """The writer thread's part of `Recorder.program`; see `recording.tasks.Task`.

    Attributes:
        name: its key in the summary.
    """

    name = "program"

    def __init__(self, run_dir: Path, attempt: int, rank: int, disk: Disk) -> None:
        self._paths = RunPaths(run_dir)
        self._attempt, self._rank, self._disk = attempt, rank, disk
        self._waiting: deque[_Captured] = deque()
        self._facts: dict[str, Any] = {}

    def hand_over(self, capture: Capture, about: About, step: int | None, asked: Asked, pause_s: float) -> None:
        """From the training's thread: write this, in place of what was handed over before."""
        self._waiting.append(_Captured(capture, about, step, asked, pause_s))

    def tick(self) -> None:
        """Write what is waiting. Raises OSError; then everything is written again at the next call."""
        while self._waiting:
            self._write(self._waiting[0])
            self._waiting.popleft()

    def finish(self) -> None:
        """The same, at the end."""
        self.tick()

    def describe(self) -> dict[str, Any]:
        """Route, number of nodes, why other routes failed; seconds of CPU (`took_s`) and of the clock (`pause_s`)."""
        return self._facts

    def _write(self, found: _Captured) -> None:
        capture, where = found.capture, (self._attempt, self._rank)
        step = max(found.step or 0, 0)
        document = capture.document
        self._disk.make_dir(self._paths.program(*where).parent)
        if document is None:
            size = write_program(
                self._paths.program(*where),
                {"format": FORMAT_VERSION, "route": NO_ROUTE, "why": [list(pair) for pair in capture.why]},
                disk=self._disk,
            )
            self._facts = {"route": None, **_facts(found), "bytes": size}
            return
        if self._facts:  # another one was captured before: no program stands beside constants that are not its own
            self._disk.remove(self._paths.program(*where))
        constants = Samples()
        for name, tensor in capture.constants.items():
            constants.add("constant", name, tensor, sys.maxsize)
        if constants.tensors:
            self._write_tensors(self._paths.program_constants(*where), step, constants, {})
        paths = [entry["path"] for entry in document["inputs"]]
        samples = samples_of(capture.inputs, paths, capture.outputs, found.about, _takes_any_number(document))
        more = {**found.about.described(), "left_out": samples.left_out}
        self._write_tensors(self._paths.samples(*where), step, samples, {"samples": more})
        size = write_program(self._paths.program(*where), document, disk=self._disk)
        self._facts = {
            "route": document["route"],
            "nodes": len(document["graph"]["nodes"]),
            **_facts(found),
            "bytes": size,
        }

    def _write_tensors(self, path: Path, step: int, samples: Samples, more: dict[str, Any]) -> None:
        write_snapshot(path, step, samples.rows(), attempt=self._attempt, rank=self._rank, disk=self._disk, more=more)


def _takes_any_number(document: Mapping[str, Any]) -> bool:
    """Whether the first size of every input may vary, down to one example."""
    firsts = [(entry["shape"] or [0])[0] for entry in document["inputs"] if entry.get("dtype")]
    lowest = {name: reach[0] for name, reach in document["symbols"].items()}
    return all(isinstance(first, str) and lowest.get(first, 2) <= 1 for first in firsts)


def _facts(found: _Captured) -> dict[str, Any]:
    capture = found.capture
    took = {"took_s": round(capture.took_s, 3), "pause_s": round(found.pause_s, 3)}
    return {"asked": found.asked, **took, "why": dict(capture.why)}
