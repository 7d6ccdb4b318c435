"""What parameters were when a run began, for an attempt that goes on from an earlier one: its first snapshot says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from explorer.errors import ExplorerError
from explorer.recording.watching.bench import Later
from explorer.recording.watching.record import ModelBook
from explorer.recording.watching.samples import SAMPLE_VALUES, cosine, view_sample
from explorer.storage.layout import SnapshotPath, list_snapshot_files
from explorer.storage.snapshot_files import SnapshotFile, StoredTensor, open_snapshot_file

Sample = tuple[tuple[int, ...], npt.NDArray[np.float64]]


class FirstSnapshot:
    """Read by the writer thread, once, when it is first asked for. What was found is in the record of the model.

    Args:
        run_dir: of the run.
        attempt: this one; only snapshots of earlier ones count.
        rank: of this process; rank 0's serve where it has none of its own.
        prefix: what `watch` puts before names, which snapshots do not.
        book: the record of the model.
    """

    def __init__(self, run_dir: Path, attempt: int, rank: int, prefix: str, book: ModelBook) -> None:
        self._run_dir, self._attempt, self._rank, self._book = run_dir, attempt, rank, book
        self._prefix = f"{prefix}." if prefix else ""
        self._samples: dict[str, Sample] | None = None

    def cosine(self, name: str, shape: tuple[int, ...], now: Later[npt.NDArray[Any]]) -> dict[str, float | None]:
        """The column `cosine_init` of a parameter; None when the snapshot has no such one of this shape."""
        if self._samples is None:
            self._samples = self._load()
        known, first = self._samples.get(name, ((), np.empty(0)))
        values = now().astype(np.float64)
        if known != shape or len(first) != len(values):
            return {"cosine_init": None}
        with np.errstate(all="ignore"):
            return {"cosine_init": cosine(float(values @ first), float(values @ values), float(first @ first))}

    def _load(self) -> dict[str, Sample]:
        try:
            found = self._find()
            if found is None:
                self._book.say_initial("not known: this attempt goes on from an earlier one, and there is no snapshot")
                return {}
            with open_snapshot_file(found.path) as file:
                samples = {self._prefix + name: _sample(file, name, entry) for name, entry in file.entries.items()}
            self._book.say_initial(f"the snapshot of step {found.step}")
            return {name: sample for name, sample in samples.items() if sample is not None}
        except (OSError, ExplorerError) as error:
            self._book.say_initial(f"not known: the first snapshot could not be read ({error})")
            return {}

    def _find(self) -> SnapshotPath | None:
        earlier = [file for file in list_snapshot_files(self._run_dir) if file.attempt < self._attempt]
        own = [file for file in earlier if file.rank == self._rank]
        return next(iter(own or [file for file in earlier if file.rank == 0]), None)


def _sample(file: SnapshotFile, name: str, entry: StoredTensor) -> Sample | None:
    dtype = getattr(torch, entry.dtype, None)
    if entry.role != "param" or entry.stored_step is not None or entry.num_bytes == 0:
        return None
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        return None
    values = torch.from_numpy(file.read_bytes(name)).view(dtype)
    return entry.shape, view_sample(values, SAMPLE_VALUES).to(torch.float64, copy=True).numpy()
