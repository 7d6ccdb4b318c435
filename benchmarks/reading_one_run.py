"""The first chart of a long run and zooming in it, beside plain pyarrow on one ideal file and TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks import data_sets
from benchmarks.report import FLOOR, TENSORBOARD, Row, Target, Values
from benchmarks.trials import NOT_INSTALLED, Place, call, interleave

NUM_METRICS = 10
NOTE = (
    "{rows:,} rows of {metrics} metrics, one metric, page cache warm, fresh process without its imports; to 1,000 "
    "pixels. Floor: plain pyarrow reads the columns from one ideal file, numpy takes the extremes of each pixel. Ours "
    "checks every checksum and finds out which files there are. EventAccumulator, measured on {events:,} rows, times "
    "{factor:,.0f} (its cost is per event): it reads all metrics to get one, and has no pixels."
)
NOTE_ZOOM = (
    "40 windows from a 10,000th to nearly all of the run, median of them; the median (range) is over the repeats. Ours "
    "looks for new rows each time. Floor: plain pyarrow reads the row groups that the window touches. Numpy on the "
    "column kept in memory, without ever looking at the disk again: {memory:.2g} ms."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    num_rows, num_event_rows = (1_000_000, 5_000) if place.quick else (10_000_000, 50_000)
    root, ideal = data_sets.long_run(place.work, num_rows, NUM_METRICS)
    tasks = {"explorer": ("explorer_chart", str(root), "long-0000"), "floor": ("pyarrow_chart", str(ideal))}
    repeats = 3 if place.quick else 7
    found = interleave(list(tasks), repeats, lambda name: _read(place, *tasks[name]))
    ours, floor = found["explorer"], found["floor"]
    if ours[0]["shown"] != floor[0]["shown"]:
        place.problems.append(f"one run: the chart shows {ours[0]['shown']}, the file holds {floor[0]['shown']}")
    factor = num_rows / num_event_rows
    tensorboard = accumulate(place, 1, num_event_rows, NUM_METRICS)
    note = NOTE.format(rows=num_rows, metrics=NUM_METRICS, events=num_event_rows, factor=factor)
    return [
        Row(
            "first chart data of the run, CPU ms",
            [one["first_s"] * 1e3 for one in ours],
            {
                FLOOR: [one["first_s"] * 1e3 for one in floor],
                TENSORBOARD: tensorboard if isinstance(tensorboard, str) else [tensorboard[0] * factor * 1e3] * repeats,
            },
            [*size_targets(place, 150), Target(2, FLOOR)],
            note,
        ),
        Row(
            "of which reading",
            [one["read_s"] * 1e3 for one in ours],
            {FLOOR: [one["read_s"] * 1e3 for one in floor]},
            [],
            note,
        ),
        Row(
            "a zoom, CPU ms",
            [one["zoom_ms"] for one in ours],
            {FLOOR: [one["zoom_ms"] for one in floor]},
            [*size_targets(place, 5), Target(2, FLOOR)],
            NOTE_ZOOM.format(memory=min(one["in_memory_ms"] for one in floor)),
        ),
    ]


def size_targets(place: Place, limit: float) -> list[Target]:
    """A target that was set for the full size says nothing about a smaller one."""
    return [] if place.quick else [Target(limit)]


def _read(place: Place, task: str, *arguments: str) -> dict[str, Any]:
    return call(place, Path(sys.executable), "readings", task, *arguments, cwd=place.work)


def accumulate(place: Place, num_runs: int, num_rows: int, num_metrics: int) -> Values:
    """CPU seconds of EventAccumulator over some runs, as a list of one; or why there is none."""
    python = place.python("tensorboard")
    if python is None:
        return NOT_INSTALLED
    sizes = (str(num_runs), str(num_rows))
    folder = events(place, num_runs, num_rows, num_metrics)
    found = call(place, python, "event_files", "read", str(folder), *sizes, cwd=place.work)
    if found.get("right") is not True:
        return "failed"
    return [found["cpu_s"]]


def events(place: Place, num_runs: int, num_rows: int, num_metrics: int) -> Path:
    """A folder of event files, made once. Needs TensorBoard's environment."""
    python = place.python("tensorboard")

    def make(folder: Path) -> None:
        sizes = (str(num_runs), str(num_rows), str(num_metrics))
        if python is None or "failed" in call(
            place, python, "event_files", "write", str(folder), *sizes, cwd=place.work
        ):
            raise RuntimeError("the event files could not be written")

    return data_sets.once(place.work, f"events-{num_runs}x{num_rows}x{num_metrics}", make)
