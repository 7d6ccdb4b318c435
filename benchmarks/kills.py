"""Rows whose `log()` had returned and that cannot be read back after a SIGKILL."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loggers import LOGGERS, PEERS
from benchmarks.report import COLUMN, Row, Target, Values
from benchmarks.trial import COUNT_FILE
from benchmarks.trials import NOT_INSTALLED, Place, call, environment, interleave

NOTE = (
    "SIGKILL at a random moment between 0.5 and 2.5 s after the first row, {kills} times each; the values of all rows "
    "that were there were right. Local disk. Median (range)."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    kills = 2 if place.quick else 15
    found = interleave(["explorer", *PEERS], kills, lambda name: _kill(place, name, 0.005))
    others: dict[str, Values] = {
        COLUMN[name]: [one["lost"] for one in found[name]] if name in found else NOT_INSTALLED for name in PEERS
    }
    note = NOTE.format(kills=kills)
    paced = Row(
        "rows lost by a kill, a row every 5 ms", [one["lost"] for one in found["explorer"]], others, [Target(0)], note
    )
    flat = interleave(["explorer"], kills, lambda name: _kill(place, name, 0.0))["explorer"]
    rate = np.median([one["returned"] for one in flat])
    what = f"rows lost by a kill, flat out (about {rate:,.0f} rows before it)"
    return [paced, Row(what, [one["lost"] for one in flat], {}, [Target(0)], note)]


def _kill(place: Place, name: str, every_s: float) -> dict[str, Any] | None:
    python = place.python(LOGGERS[name][0])
    if python is None:
        return None
    cwd = place.scratch()
    folder = str(cwd / "run")
    settings = json.dumps({"every_s": every_s})
    command = [str(python), "-m", "benchmarks.trial", name, "die", folder, settings]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=cwd, env=environment(), stdout=quiet, stderr=quiet) as process:
        try:
            _wait_for_rows(cwd / COUNT_FILE, process)
            time.sleep(random.uniform(0.5, 2.5))
        finally:
            process.kill()
    found = call(place, python, "trial", name, "survived", folder, "{}", cwd=cwd)
    if "version" in found:
        place.versions[name] = found["version"]
    if found.get("right") is False:
        place.problems.append(f"{name}: rows that were read back after a kill are wrong")
    return found


def _wait_for_rows(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(6_000):
        if path.exists() and path.stat().st_size and int(np.fromfile(path, np.int64, 1)[0]):
            return
        if process.poll() is not None:
            raise RuntimeError("the logger ended by itself before its first row")
        time.sleep(0.01)
    raise RuntimeError("no row within a minute")
