"""Probes of a run: what the layers of its model put out for one fixed batch, at the steps at which it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from explorer.errors import DamagedFile, FileError, ProbeNotFound
from explorer.storage.probes import HASH_OF_PROBE, ROLE, ProbeFile, list_probe_files
from explorer.storage.snapshot_files import SnapshotFile, StoredTensor, open_snapshot_file

_DTYPES: Final[dict[str, type[np.generic]]] = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


@dataclass(frozen=True)
class ProbeInfo:
    """One probe as it was listed; the newest attempt's of its step.

    Attributes:
        step: optimizer step.
        attempt, rank: of the process that recorded it.
        path: its file.
        identity: changes when the file is another one (size in bytes, modification time in ns).
        sha256: of the batch, in hexadecimal digits; empty when the file is damaged.
        num_layers: whose outputs it holds.
        num_examples: of the batch that were kept.
        problem: what is wrong with the file, or None.
    """

    step: int
    attempt: int
    rank: int
    path: Path
    identity: tuple[int, int]
    sha256: str
    num_layers: int
    num_examples: int
    problem: str | None = None


@dataclass(frozen=True, eq=False)
class Probe:
    """One probe, read.

    Attributes:
        step: optimizer step.
        sha256: of the batch; only probes with the same one may be compared.
        num_examples: of the batch that were kept.
        layers: name to `[num_examples, features]` float32, in the order of the forward pass.
    """

    step: int
    sha256: str
    num_examples: int
    layers: dict[str, npt.NDArray[np.float32]]


def list_probes(run_path: str | Path) -> list[ProbeInfo]:
    """Return the probes of a run by step; of several attempts the newest, of several ranks the lowest.

    A damaged file is listed with its problem.
    """
    newest: dict[int, ProbeFile] = {}
    for file in list_probe_files(run_path):
        known = newest.get(file.step)
        if known is None or (file.attempt, -file.rank) > (known.attempt, -known.rank):
            newest[file.step] = file
    found = []
    for file in newest.values():
        try:
            now = file.path.stat(follow_symlinks=False)
            found.append(_look(file, (now.st_size, now.st_mtime_ns)))
        except FileNotFoundError:  # taken away meanwhile
            continue
    return found


def _look(file: ProbeFile, identity: tuple[int, int]) -> ProbeInfo:
    try:
        with open_snapshot_file(file.path) as opened:
            shapes = [entry.shape for name, entry in opened.entries.items() if name != HASH_OF_PROBE]
            num_examples = shapes[0][0] if shapes and shapes[0] else 0
            return ProbeInfo(*file, identity, _digest(opened), len(shapes), num_examples)
    except FileError as error:
        return ProbeInfo(*file, identity, "", 0, 0, f"probes/{file.path.parent.name}/{file.path.name}: {error.reason}")


def read_probe(run_path: str | Path, step: int) -> Probe:
    """Return the probe of a step.

    Raises:
        ProbeNotFound: there is none.
        FileError: its file is damaged, or written by a newer version.
    """
    info = next((one for one in list_probes(run_path) if one.step == step), None)
    if info is None:
        raise ProbeNotFound(f"run {Path(run_path).name} has no probe of step {step:,}")
    if info.problem is not None:
        raise DamagedFile(info.path, info.problem)
    with open_snapshot_file(info.path) as file:
        layers = {
            name: _as_float32(file, name, entry)
            for name, entry in file.entries.items()
            if name != HASH_OF_PROBE and entry.role == ROLE
        }
    return Probe(step, info.sha256, info.num_examples, layers)


def _digest(file: SnapshotFile) -> str:
    entry = file.entries.get(HASH_OF_PROBE)
    if entry is None or (entry.dtype, entry.shape) != ("uint8", (32,)):
        raise DamagedFile(file.path, "does not say which batch it is of")
    return file.read_bytes(HASH_OF_PROBE).tobytes().hex()


def _as_float32(file: SnapshotFile, name: str, entry: StoredTensor) -> npt.NDArray[np.float32]:
    """Activations of any of the three types that a probe keeps; each value of the shorter ones is a float32."""
    if len(entry.shape) != 2 or entry.dtype not in _DTYPES:
        raise DamagedFile(file.path, f"has no activations in tensor {name!r}: {entry.dtype} of shape {entry.shape}")
    stored = file.read_bytes(name).view(_DTYPES[entry.dtype]).reshape(entry.shape)
    if entry.dtype == "bfloat16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)
