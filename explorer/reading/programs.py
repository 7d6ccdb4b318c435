"""The captured computation of a run's model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from explorer.errors import DamagedFile, FileError, NotCaptured
from explorer.storage.layout import RunPaths, list_program_files
from explorer.storage.program import Program
from explorer.storage.program_file import read_program
from explorer.storage.snapshot_files import SnapshotFile, StoredTensor, open_snapshot_file


@dataclass(frozen=True)
class RawTensor:
    """A tensor as it was recorded.

    Attributes:
        role: `constant`, `input`, `output` or `label`.
        name: of a constant; the path of an input or output; "" for labels.
        dtype: torch's name without `torch.`.
        shape: sizes.
        data: its little-endian bytes, uint8[num_bytes].
    """

    role: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RecordedProgram:
    """A program with what belongs to it.

    Attributes:
        attempt, rank: of the process that captured it.
        program: the model's computation.
        constants: tensors that it needs besides the weights.
        samples: inputs, the model's outputs for them, and labels; empty when their file cannot be read.
        about: of the samples: `kind`, `class_names`, `vocabulary`, `feature_names`, `left_out`, as far as known.
        problems: what cannot be read, by file and reason.
    """

    attempt: int
    rank: int
    program: Program
    constants: tuple[RawTensor, ...]
    samples: tuple[RawTensor, ...]
    about: Mapping[str, Any]
    problems: tuple[str, ...]


def read_program_of(run_path: str | Path) -> Program | None:
    """The program of the newest attempt that has one; None when no model was captured. Never raises for a file."""
    for _, _, path in _newest_first(run_path):
        with suppress(FileError, NotCaptured, FileNotFoundError):
            return read_program(path)
    return None


def program_problems(run_path: str | Path) -> tuple[str, ...]:
    """Why programs are missing or cannot be read, newest first: reasons of the capture, damaged files."""
    found = []
    for _, _, path in _newest_first(run_path):
        try:
            read_program(path)
        except NotCaptured as error:
            found.append(str(error))
        except FileError as error:
            found.append(f"program/{path.name}: {error.reason}")
        except FileNotFoundError:
            continue
    return tuple(found)


def read_recorded_program(run_path: str | Path) -> RecordedProgram | None:
    """The program that `read_program_of` gives, with its constants and samples.

    Raises:
        DamagedFile: its constants are damaged or gone, without which it cannot run.
    """
    paths = RunPaths(Path(run_path))
    for attempt, rank, path in _newest_first(run_path):
        try:
            program = read_program(path)
        except (FileError, NotCaptured, FileNotFoundError):
            continue
        constants: tuple[RawTensor, ...] = ()
        if any(weight.role == "constant" for weight in program.weights.values()):
            constants_path = paths.program_constants(attempt, rank)
            try:
                with open_snapshot_file(constants_path) as file:
                    constants = tuple(_tensors(file))
            except FileNotFoundError as error:
                raise DamagedFile(constants_path, "is missing: the program cannot run without it") from error
        samples_path = paths.samples(attempt, rank)
        try:
            with open_snapshot_file(samples_path) as file:
                samples, about = tuple(_tensors(file)), file.meta.get("samples")
            problems: tuple[str, ...] = ()
        except FileNotFoundError:
            samples, about, problems = (), {}, (f"samples/{samples_path.name}: is missing",)
        except FileError as error:
            samples, about, problems = (), {}, (f"samples/{samples_path.name}: {error.reason}",)
        return RecordedProgram(attempt, rank, program, constants, samples, _about(about), problems)
    return None


def _newest_first(run_path: str | Path) -> list[tuple[int, int, Path]]:
    return sorted(list_program_files(run_path), key=lambda found: (-found[0], found[1]))


def _tensors(file: SnapshotFile) -> Iterator[RawTensor]:
    for name, entry in file.entries.items():
        if entry.stored_step is None:
            yield _tensor(file, name, entry)


def _tensor(file: SnapshotFile, name: str, entry: StoredTensor) -> RawTensor:
    return RawTensor(entry.role, name.partition(":")[2], entry.dtype, entry.shape, file.read_bytes(name))


def _about(found: object) -> dict[str, Any]:
    """What is of the kind that the recorder writes; a stranger's file may hold anything."""
    if not isinstance(found, dict):
        return {}
    about: dict[str, Any] = {}
    for name in ("class_names", "vocabulary", "feature_names", "left_out"):
        texts = found.get(name)
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            about[name] = texts
    if isinstance(found.get("kind"), str):
        about["kind"] = found["kind"]
    return about
