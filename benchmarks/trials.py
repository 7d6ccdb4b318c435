"""Starts measurements in processes of their own, each logger in its own environment, in a shuffled order."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loggers import LOGGERS

REPOSITORY = Path(__file__).resolve().parent.parent
NOT_INSTALLED = "not installed"


@dataclass
class Place:
    """Where things are.

    Attributes:
        work: scratch folder on a local disk; data sets are kept in it between runs.
        peers: folder of the peers' virtual environments, see `setup_peers`.
        quick: small sizes, about three minutes in all.
    """

    work: Path
    peers: Path
    quick: bool
    problems: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def python(self, environment: str | None) -> Path | None:
        """The interpreter of an environment; None when it is not there."""
        if environment is None:
            return Path(sys.executable)
        path = self.peers / environment / "bin" / "python"
        return path if path.exists() else None

    def scratch(self) -> Path:
        """An empty folder for one trial."""
        folder = self.work / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def environment() -> dict[str, str]:
    """What child processes get: this repository on the path, one thread for numbers, nothing of git around them."""
    more = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return {**os.environ, **more}


def call(place: Place, python: Path, module: str, *arguments: str, cwd: Path) -> dict[str, Any]:
    """Run a module of this package in a fresh process; return the JSON of its last line, or {"failed": why}."""
    command = [str(python), "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=1800)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        place.problems.append(f"{module} {' '.join(arguments[:2])}: {why[:200]}")
        return {"failed": why}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def run(place: Place, logger: str, task: str, **settings: object) -> dict[str, Any] | None:
    """One trial; None when the logger is not installed."""
    python = place.python(LOGGERS[logger][0])
    if python is None:
        return None
    cwd = place.scratch()
    found = call(place, python, "trial", logger, task, str(cwd / "run"), json.dumps(settings), cwd=cwd)
    if found.get("right") is False:
        place.problems.append(f"{logger} {task}: what was read back is not what was logged")
    if "version" in found:
        place.versions[logger] = found["version"]
    return found


Results = dict[str, list[dict[str, Any]]]


def interleave(names: Sequence[str], repeats: int, measure: Callable[[str], dict[str, Any] | None]) -> Results:
    """Measure each of `names` once a repeat, shuffled, so that whatever else the machine does falls on all alike.

    Result `i` of every name is from the same repeat: ratios are taken within it. A name without any result is left out.
    """
    results: Results = {name: [] for name in names}
    for _ in range(repeats):
        for name in random.sample(list(names), len(names)):
            found = measure(name)
            if found is not None:
                results[name].append(found)
    return {name: found for name, found in results.items() if found and not any("failed" in one for one in found)}
