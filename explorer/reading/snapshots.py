"""The snapshots of a run: which there are, and the values of their tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from explorer.errors import DamagedFile, FileError, SnapshotNotFound, TensorNotFound
from explorer.reading.dtypes import decode
from explorer.reading.safetensors import write_safetensors
from explorer.storage.layout import SnapshotPath, list_snapshot_files
from explorer.storage.memory import empty_arrays
from explorer.storage.snapshot_files import SnapshotFile, StoredTensor, open_snapshot_file
from explorer.storage.snapshots import snapshot_path

__all__ = [
    "Snapshot",
    "SnapshotEntry",
    "SnapshotInfo",
    "list_snapshots",
    "open_snapshot",
    "read_tensor_over_steps",
    "write_safetensors",
]

_MAX_NEAREST = 5


@dataclass(frozen=True)
class SnapshotInfo:
    """One snapshot of one rank, as it was listed.

    Attributes:
        step, attempt, rank: whose it is.
        num_tensors: tensors in it, those whose bytes an earlier snapshot holds included; 0 when it cannot be read.
        size_bytes: size of its file.
        has_reference: whether the values are in a file of the user's own, outside the run.
        problem: why it cannot be read; None when nothing is known to be wrong.
    """

    step: int
    attempt: int
    rank: int
    num_tensors: int
    size_bytes: int
    has_reference: bool
    problem: str | None


@dataclass(frozen=True)
class SnapshotEntry:
    """A tensor of a snapshot.

    Attributes:
        name: fully qualified name.
        role: `param`, `buffer` or `optimizer`.
        dtype: torch's name without `torch.`.
        shape: sizes.
        num_bytes: bytes of its values.
        stored_step: the snapshot that holds the bytes because nothing changed since; None when this one does.
        tied_to: the first name of the same tensor, when this is a further one.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int
    stored_step: int | None
    tied_to: str | None


class Snapshot:
    """A snapshot, opened: its index is in memory, values are read when they are asked for. Thread-safe.

    Attributes:
        step, attempt, rank: whose it is.
        entries: its tensors by name, in the order of the model.
        reference: path, size, mtime_ns and header_sha256 of the user's own safetensors file with the values, when they
            were not copied. It lies outside the run, so we never open it by ourselves.
    """

    def __init__(self, run_path: Path, found: SnapshotPath, file: SnapshotFile) -> None:
        self.step, self.attempt, self.rank = found.step, found.attempt, found.rank
        self._run_path, self._path, self._file = run_path, found.path, file
        self._stored = dict(file.entries)
        self.entries: Mapping[str, SnapshotEntry] = MappingProxyType(
            {name: _entry(name, stored) for name, stored in self._stored.items()}
        )
        self.reference = file.reference

    def read(self, name: str) -> npt.NDArray[Any]:
        """The values of a tensor in its shape; bfloat16, float16 and float8 come as float32, exactly.

        Raises:
            TensorNotFound: the snapshot has no tensor of that name.
            DamagedFile: its bytes are damaged, or the snapshot that holds them is.
        """
        return self.read_many([name])[name]

    def read_many(self, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """As `read`, of several tensors; each file is opened once."""
        return {
            name: decode(data, self.entries[name].dtype, self.entries[name].shape)
            for name, data in self._read(list(names)).items()
        }

    def read_bytes(self, name: str) -> npt.NDArray[np.uint8]:
        """The little-endian bytes of a tensor, uint8[num_bytes]. Raises as `read` does."""
        return self._read([name])[name]

    def read_many_bytes(self, names: Iterable[str]) -> dict[str, npt.NDArray[np.uint8]]:
        """As `read_bytes`, of several tensors; each file is opened once, and they share one piece of memory.

        Raises as `read`; MemoryError: they do not fit into memory.
        """
        room = self.make_room(names)
        self.read_into(room)
        return room

    def make_room(self, names: Iterable[str]) -> dict[str, npt.NDArray[np.uint8]]:
        """Memory for the bytes of tensors, uint8[num_bytes] each, with nothing in it yet; see `read_into`.

        Raises:
            TensorNotFound: the snapshot has no tensor of that name.
            MemoryError: they do not fit into memory.
        """
        listed = list(names)
        self._check_there(listed)
        sizes = [self.entries[name].num_bytes for name in listed]
        return dict(zip(listed, empty_arrays(sizes), strict=True))

    def read_into(self, room: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Read the tensors that there is room for. Raises as `read`; the room then holds what must not be used."""
        self._read(list(room), room)

    def _check_there(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.entries:
                raise TensorNotFound(_not_found(name, self))

    def _read(
        self, names: list[str], into: Mapping[str, npt.NDArray[np.uint8]] | None = None
    ) -> dict[str, npt.NDArray[np.uint8]]:
        self._check_there(names)
        found: dict[str, npt.NDArray[np.uint8]] = {}
        for step in dict.fromkeys(self.entries[name].stored_step for name in names):
            path = self._path if step is None else snapshot_path(self._run_path, step, self.attempt, self.rank)
            try:
                with open_snapshot_file(path, self._file if step is None else None) as file:
                    for name in (name for name in names if self.entries[name].stored_step == step):
                        if step is not None:
                            self._check_same(name, file)
                        found[name] = file.read_bytes(name, None if into is None else into[name])
            except (FileNotFoundError, KeyError) as error:
                where = "it is gone" if step is None else f"step {step:,}, which held its bytes, has lost them"
                raise DamagedFile(self._path, f"is not whole any more: {where}") from error
        return {name: found[name] for name in names}

    def _check_same(self, name: str, file: SnapshotFile) -> None:
        mine, other = self._stored[name], file.entries[name]
        if (mine.dtype, mine.shape, mine.crc32) != (other.dtype, other.shape, other.crc32):
            raise DamagedFile(file.path, f"has other values of {name!r} than step {self.step:,} refers to")


def list_snapshots(run_path: str | Path) -> list[SnapshotInfo]:
    """The snapshots of a run, sorted by (step, rank); of each step those of the newest attempt that has any."""
    found = _newest(Path(run_path))
    infos = [(file, _look(str(file.path), file.identity)) for file in found]
    return [
        SnapshotInfo(file.step, file.attempt, file.rank, look.num_tensors, file.identity[0], look.refers, look.problem)
        for file, look in infos
    ]


def open_snapshot(run_path: str | Path, step: int, rank: int | None = None) -> Snapshot:
    """Open the snapshot of a step.

    Args:
        run_path: the run's folder.
        step: a step that `list_snapshots` names.
        rank: whose; None is the lowest rank that has one.

    Raises:
        SnapshotNotFound: there is none; the message names the nearest ones.
        DamagedFile: it is damaged.
        UnsupportedFormat: a newer version wrote it.
    """
    found = _newest(Path(run_path))
    for file in found:
        if file.step == step and rank in (None, file.rank):
            try:
                with open_snapshot_file(file.path) as opened:
                    return Snapshot(Path(run_path), file, opened)
            except FileNotFoundError:
                break
    steps = sorted({file.step for file in found}, key=lambda other: abs(other - step))[:_MAX_NEAREST]
    whose = "" if rank is None else f" of rank {rank}"
    near = f"the nearest are {', '.join(f'{each:,}' for each in sorted(steps))}" if steps else "it has none"
    raise SnapshotNotFound(f"run {Path(run_path).name} has no snapshot{whose} at step {step:,}; {near}")


def read_tensor_over_steps(
    run_path: str | Path, name: str, rank: int | None = None
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[Any]]]:
    """The values of one tensor in every snapshot that has it and can be read.

    Args:
        run_path: the run's folder.
        name: the tensor's name.
        rank: whose; None is the lowest rank that has a snapshot of the step.

    Returns:
        Steps, int64[n] ascending, and a read-only array for each; where nothing changed it is the same array.

    Raises:
        TensorNotFound: no snapshot has it.
    """
    steps: list[int] = []
    arrays: list[npt.NDArray[Any]] = []
    known: dict[tuple[int, int, int], npt.NDArray[Any]] = {}
    for step, files in groupby(list_snapshot_files(run_path), key=lambda file: file.step):
        found = _of_step(Path(run_path), list(files), name, rank, known)
        if found is not None:
            found.flags.writeable = False
            steps.append(step)
            arrays.append(found)
    if not steps:
        raise TensorNotFound(f"no snapshot of run {Path(run_path).name} has a tensor {name!r}")
    return np.array(steps, np.int64), arrays


def _of_step(
    run_path: Path,
    files: list[SnapshotPath],
    name: str,
    rank: int | None,
    known: dict[tuple[int, int, int], npt.NDArray[Any]],
) -> npt.NDArray[Any] | None:
    """A tensor in the newest attempt of a step; None when it is not there, or damaged: `list_snapshots` names it.

    `known` are arrays by attempt, rank and the step that holds their bytes. Each file is opened once.
    """
    attempt: int | None = None
    for file in sorted(files, key=lambda file: (-file.attempt, file.rank)):
        if attempt not in (None, file.attempt) or (attempt is not None and rank is None):
            break
        try:
            with open_snapshot_file(file.path) as opened:
                if opened.is_dropped:
                    continue
                attempt = file.attempt
                entry = opened.entries.get(name)
                if entry is None or rank not in (None, file.rank):
                    continue
                key = (file.attempt, file.rank, file.step if entry.stored_step is None else entry.stored_step)
                if key not in known:
                    if entry.stored_step is None:
                        known[key] = decode(opened.read_bytes(name), entry.dtype, entry.shape)
                    else:
                        known[key] = Snapshot(run_path, file, opened).read(name)
                return known[key]
        except FileNotFoundError:
            continue
        except FileError:
            attempt = file.attempt
    return None


@dataclass(frozen=True)
class _Look:
    num_tensors: int = 0
    refers: bool = False
    is_dropped: bool = False
    problem: str | None = None


@lru_cache(maxsize=10_000)
def _look(path: str, identity: tuple[int, int, int]) -> _Look:
    """What a file says of itself; files never change under one identity."""
    try:
        with open_snapshot_file(path) as file:
            return _Look(len(file.entries), file.reference is not None, file.is_dropped)
    except FileNotFoundError:
        return _Look(is_dropped=True)
    except FileError as error:
        return _Look(problem=error.reason)


def _newest(run_path: Path) -> list[SnapshotPath]:
    """The files that count: not dropped, and of each step those of the newest attempt."""
    files = [file for file in list_snapshot_files(run_path) if not _look(str(file.path), file.identity).is_dropped]
    newest: dict[int, int] = {}
    for file in files:
        newest[file.step] = max(newest.get(file.step, 0), file.attempt)
    return [file for file in files if file.attempt == newest[file.step]]


def _entry(name: str, stored: StoredTensor) -> SnapshotEntry:
    return SnapshotEntry(
        name, stored.role, stored.dtype, stored.shape, stored.num_bytes, stored.stored_step, stored.tied_to
    )


def _not_found(name: str, snapshot: Snapshot) -> str:
    known = list(snapshot.entries)
    near = [each for each in known if name.casefold() in each.casefold()][:_MAX_NEAREST] or known[:_MAX_NEAREST]
    has = ", ".join(map(repr, near)) if near else "none"
    more = f" and {len(known) - len(near):,} more" if len(known) > len(near) else ""
    return f"the snapshot of step {snapshot.step:,} has no tensor {name!r}; it has {has}{more}"
