"""Every exception that this package raises.

ExplorerError
├── UsageError          a wrong argument of ours; also a ValueError
├── RunNotFound         no run under that path or id; also a LookupError
├── MetricNotFound      the run has no such metric; also a LookupError
├── TensorNotFound      the run, or one of its snapshots, has no such tensor; also a LookupError
├── SnapshotNotFound    the run has no snapshot of that step; also a LookupError
├── ProbeNotFound       the run has no probe of that step; also a LookupError
├── RootError           the folder of runs cannot be read
├── ProgramError        a captured program, or what is given to it, cannot be run
│   ├── NotCaptured         the model could not be captured when it was recorded
│   └── OutOfMemory         the device has too little memory for it
├── SandboxError        the process that runs programs failed: too slow, crashed, killed
│   └── RunCancelled        it was stopped because the user asked for it
└── FileError           something about one file; has `.path` and `.reason`
    ├── DamagedFile         torn, cut, flipped, foreign or hostile
    └── UnsupportedFormat   written by a newer version than this one
"""

from __future__ import annotations

from pathlib import Path


class ExplorerError(Exception):
    """Base of everything that this package raises on purpose."""


class UsageError(ExplorerError, ValueError):
    """An argument is wrong: the message says what was expected and what was found."""


class RunNotFound(ExplorerError, LookupError):
    """There is no run under this path or id."""


class MetricNotFound(ExplorerError, LookupError):
    """The run has no metric of this name."""


class TensorNotFound(ExplorerError, LookupError):
    """The run, or one of its snapshots, has no tensor of this name."""


class SnapshotNotFound(ExplorerError, LookupError):
    """The run has no snapshot of this step."""


class ProbeNotFound(ExplorerError, LookupError):
    """The run has no probe of this step."""


class RootError(ExplorerError):
    """The folder of runs is missing, is not a folder, or may not be read."""


class ProgramError(ExplorerError):
    """A captured program cannot be run, or not with this input or these weights; the message says what to do."""


class NotCaptured(ProgramError):
    """There is no program because the model could not be captured; the message says what was tried and why."""


class OutOfMemory(ProgramError):
    """The device has too little memory for this run; another device, or a smaller input, may do."""


class SandboxError(ExplorerError):
    """The process in which programs run took too long, crashed or was stopped; the next request starts a new one."""


class RunCancelled(SandboxError):
    """A run was stopped because the user asked for it."""


class FileError(ExplorerError):
    """One file cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, one short sentence without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class DamagedFile(FileError):
    """The file is torn, cut, altered or not ours; its rows are left out and nothing else."""


class UnsupportedFormat(FileError):
    """The file was written by a newer version of this package; upgrading reads it."""


class RecorderWarning(UserWarning):
    """Something that the recorder could not record; the training goes on. Said once, counted, and kept in the run."""
