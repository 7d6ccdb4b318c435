"""Weights that are read while PyTorch is imported: both take about a second for a large model, on different cores.

Needs no torch. Nothing is shown on its word: whoever takes the weights binds them as those that it reads itself, their
checksums have been compared, and where anything is wrong it reads anew and is told what.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.errors import ExplorerError
from explorer.inference.weight_names import names_to_read
from explorer.reading.programs import read_program_of
from explorer.reading.snapshots import Snapshot, list_snapshots, open_snapshot

WEIGHT_BYTES: Final = 2 * 2**30
Held = Mapping[str, npt.NDArray[np.uint8]]


def weight_bytes(memory_bytes: int | None) -> int:
    """What weights of steps may take of the memory that the process may take; None is no limit."""
    return WEIGHT_BYTES if memory_bytes is None else min(WEIGHT_BYTES, memory_bytes // 4)


class EarlyReading:
    """The weights of one step of a recorded run, read by a thread of its own as soon as this is made.

    Args:
        opening: what the first question will open, as `Models.open` takes it. Weights of a file and models of the
            user's own code are not read here.
        memory_bytes: what this process may take; weights that have no place in their share of it are not read here.
    """

    def __init__(self, opening: Mapping[str, Any], memory_bytes: int | None) -> None:
        self._folder, self._step = opening.get("run"), opening.get("step")
        self._max_bytes = weight_bytes(memory_bytes)
        self._num_bytes = 0
        self._found: tuple[Snapshot, Held] | None = None
        self._is_sized = threading.Event()
        is_snapshot = opening.get("file") is None and opening.get("factory") is not True
        self._thread: threading.Thread | None = None
        if isinstance(self._folder, str) and is_snapshot:
            self._thread = threading.Thread(target=self._work, args=(self._folder,), daemon=True)
            self._thread.start()

    @property
    def num_bytes(self) -> int:
        """Bytes of memory that it has taken; waits until it has, which takes the index of the file."""
        if self._thread is not None:
            self._is_sized.wait()
        return self._num_bytes

    def take(self, folder: str, step: int) -> tuple[Snapshot, Held] | None:
        """The snapshot of a step and the bytes of its tensors by name, which are the caller's; waits for them.

        None where it is another step's, or could not be read.
        """
        if self._thread is None or self.num_bytes == 0 or (self._folder, self._step) != (folder, step):
            return None
        self._thread.join()
        return self._found

    def _work(self, folder: str) -> None:
        # Whoever asks for the same reads it anew, and is told what is wrong.
        with suppress(ExplorerError, OSError, MemoryError):
            try:
                snapshot, room = self._prepare(Path(folder))
            finally:
                self._is_sized.set()
            snapshot.read_into(room)
            if room:
                self._found = snapshot, room

    def _prepare(self, folder: Path) -> tuple[Snapshot, Held]:
        """The snapshot, and memory for the tensors that are to be read; none for more than is allowed."""
        if self._step is None:
            self._step = max((info.step for info in list_snapshots(folder) if info.problem is None), default=-1)
        snapshot = open_snapshot(folder, self._step)
        program = read_program_of(folder)
        there = {name: entry for name, entry in snapshot.entries.items() if entry.role in ("param", "buffer")}
        names = [] if program is None else names_to_read(program, there)
        num_bytes = sum(there[name].num_bytes for name in names)
        if num_bytes > self._max_bytes:
            return snapshot, {}
        room = snapshot.make_room(names)
        self._num_bytes = num_bytes
        return snapshot, room
