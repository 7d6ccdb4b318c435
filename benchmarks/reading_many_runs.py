"""A thousand runs: listing them, and one metric of all of them."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import data_sets
from benchmarks.reading_one_run import accumulate, size_targets
from benchmarks.report import FLOOR, TENSORBOARD, Row, Target, Values
from benchmarks.trials import Place, call, interleave

NUM_ROWS, NUM_METRICS = 5_000, 20
NOTE_LIST = (
    "{runs:,} runs of {rows:,} rows x {metrics} metrics; a fresh process that knows nothing, page cache warm. Floor: "
    "json.loads of each run's summary. The second look is what a rerun of the app pays."
)
NOTE_ALL = (
    "one metric of all {runs:,} runs, all points. Floor: plain pyarrow on one ideal file of all runs. Plain pyarrow on "
    "our own files, a file a run, without looking for new ones or checking anything: {files:.0f} ms. All with small "
    "pages of memory: huge ones cost the kernel 0.1 to 0.6 s for the same 120 MB, by how fragmented its memory is. "
    "EventAccumulator, measured on {event_runs} runs of {event_rows:,} rows, times {factor:,.0f} (its cost is per "
    "event)."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    num_runs = 100 if place.quick else 1_000
    event_runs, event_rows = (4, 500) if place.quick else (10, 2_000)
    root, ideal = data_sets.many_runs(place.work, num_runs, NUM_ROWS, NUM_METRICS)
    tasks = {
        "explorer_list": str(root),
        "json_list": str(root),
        "explorer_all": str(root),
        "pyarrow_all": str(ideal),
        "pyarrow_all_files": str(root),
    }
    repeats = 3 if place.quick else 7
    python = Path(sys.executable)
    found = interleave(
        list(tasks), repeats, lambda task: call(place, python, "readings", task, tasks[task], cwd=place.work)
    )
    ours, ideal_file = found["explorer_all"], found["pyarrow_all"]
    if ours[0]["points"] != ideal_file[0]["points"] or abs(ours[0]["sum"] / ideal_file[0]["sum"] - 1) > 1e-12:
        place.problems.append("many runs: what was read is not what the ideal file holds")
    factor = num_runs * NUM_ROWS / (event_runs * event_rows)
    measured = accumulate(place, event_runs, event_rows, NUM_METRICS)
    tensorboard: Values = measured if isinstance(measured, str) else [measured[0] * factor * 1e3] * repeats
    note = NOTE_LIST.format(runs=num_runs, rows=NUM_ROWS, metrics=NUM_METRICS)
    first = [one["first_ms"] for one in found["explorer_list"]]
    files_ms = min(one["all_ms"] for one in found["pyarrow_all_files"])
    note_all = NOTE_ALL.format(
        runs=num_runs, files=files_ms, event_runs=event_runs, event_rows=event_rows, factor=factor
    )
    return [
        Row(
            "list of the runs, CPU ms",
            first,
            {FLOOR: [one["first_ms"] for one in found["json_list"]]},
            [*size_targets(place, 50), Target(2, FLOOR)],
            note,
        ),
        Row(
            "the list again, CPU ms",
            [one["again_ms"] for one in found["explorer_list"]],
            {},
            size_targets(place, 50),
            note,
        ),
        Row(
            "one metric of all runs, CPU ms",
            [one["all_ms"] for one in ours],
            {FLOOR: [one["all_ms"] for one in ideal_file], TENSORBOARD: tensorboard},
            [*size_targets(place, 300), Target(2, FLOOR)],
            note_all,
        ),
    ]
