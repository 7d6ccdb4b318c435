"""Experiment Explorer: record PyTorch trainings at next to no cost, and look inside them from plain files.

The public names are found when they are first used, so that a training imports the recorder without pandas, and the app
imports everything else without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.errors import (
        DamagedFile as DamagedFile,
        ExplorerError as ExplorerError,
        MetricNotFound as MetricNotFound,
        ProgramError as ProgramError,
        RecorderWarning as RecorderWarning,
        RootError as RootError,
        RunNotFound as RunNotFound,
        SnapshotNotFound as SnapshotNotFound,
        TensorNotFound as TensorNotFound,
        UnsupportedFormat as UnsupportedFormat,
        UsageError as UsageError,
    )
    from explorer.inference.edits.recorded import apply_recipe as apply_recipe
    from explorer.inference.loading import load_model as load_model
    from explorer.notebook import curves as curves, list_runs as list_runs
    from explorer.reading.runs import open_run as open_run
    from explorer.recording.recorder import Recorder as Recorder
    from explorer.recording.watching.schedule import (
        EarlyThenEvery as EarlyThenEvery,
        Every as Every,
        LogSpaced as LogSpaced,
    )

__version__ = "0.1.0"

_HOME = {
    "Recorder": "explorer.recording.recorder",
    **dict.fromkeys(("EarlyThenEvery", "Every", "LogSpaced"), "explorer.recording.watching.schedule"),
    "curves": "explorer.notebook",
    "list_runs": "explorer.notebook",
    "apply_recipe": "explorer.inference.edits.recorded",
    "load_model": "explorer.inference.loading",
    "open_run": "explorer.reading.runs",
    **dict.fromkeys(
        (
            "DamagedFile",
            "ExplorerError",
            "MetricNotFound",
            "ProgramError",
            "RecorderWarning",
            "RootError",
            "RunNotFound",
            "SnapshotNotFound",
            "TensorNotFound",
            "UnsupportedFormat",
            "UsageError",
        ),
        "explorer.errors",
    ),
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'explorer' has no attribute {name!r}; its names are {', '.join(sorted(_HOME))}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
