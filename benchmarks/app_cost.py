"""What the app costs its server: the first right chart, the first page, a rerun, memory, and what a chart weighs."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from benchmarks import data_sets, machine, workload
from benchmarks.reading_one_run import events
from benchmarks.report import TENSORBOARD, Row, Target, Values, spread
from benchmarks.streamlit_session import Chart, run_script, server, session
from benchmarks.trials import NOT_INSTALLED, REPOSITORY, Place, environment

NUM_ROWS, NUM_METRICS = 1_000_000, 10
COMPARED = (8, 5_000, 50)  # runs, rows, metrics
WATCHED = (1_000, 100_000)  # steps, values of a tensor
RERUNS = 20
LIMIT_S = 600.0
APP = REPOSITORY / "streamlit_app.py"
ONE_CHART = urlencode({"q": f"^{workload.NAMES[0]}$"})
IDLE = 'import streamlit as st\n\nst.title("idle")\n'
SMALL = """import pyarrow as pa
import streamlit as st

table = pa.table({"x": [0.0, 1.0], "y": [1.0, 0.0]})
st.vega_lite_chart(table, {"mark": "line", "encoding": {"x": {"field": "x"}, "y": {"field": "y"}}})
"""
NOTE = (
    "a finished run of {rows:,} rows x {metrics} metrics; CPU of the server's processes, driven over the websocket "
    "that a browser uses. Right: lowest, highest and last value of `train/loss` are those that were logged. "
    "TensorBoard: its server with the Rust loader on {events:,} rows x {metrics}, until the answer for one chart holds "
    "the last step; it sends 1,000 points chosen at random, so its extremes are not right, and nothing is drawn yet."
)
NOTE_PAGE = "the page Runs; torch in the server's memory: {torch}."
NOTE_RERUN = (
    "the page Metrics with {charts} charts drawn again, mean of {reruns} reruns, collections of garbage included."
)
NOTE_COMPARE = "the page Compare with {runs} runs x {metrics} metrics drawn again, in the same way."
NOTE_HEAT = (
    "the page Distributions with one tensor of {values:,} values at {steps:,} steps, {bins:.0f} recorded bins each: "
    "heat map, distribution at a step, numbers; drawn again in the same way."
)
NOTE_MEMORY = (
    "resident memory of the server after the page Metrics and its reruns, less that of a Streamlit server with one "
    "title; with a search that leaves one chart, and with all {charts}. Each series of {rows:,} values is kept, 8 MiB. "
    "One st.vega_lite_chart of a pa.table of two points, in a script of five lines, is {small:.0f} MiB above idle by "
    "itself (pyarrow, and pandas that pa.table imports)."
)


@dataclass
class Visit:
    """What one server spent on one session."""

    first_chart_s: float
    page_s: float
    rerun_ms: float
    memory_bytes: int
    charts: list[Chart]
    torch: bool


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    root, _ = data_sets.long_run(place.work, NUM_ROWS, NUM_METRICS)
    compared, _ = data_sets.many_runs(place.work, *COMPARED)
    watched = data_sets.watched_run(place.work, *WATCHED)
    idle_script, small_script = place.work / "idle_app.py", place.work / "small_app.py"
    idle_script.write_text(IDLE, encoding="utf-8")
    small_script.write_text(SMALL, encoding="utf-8")
    num_event_rows = 30_000 if place.quick else NUM_ROWS
    kinds: dict[str, Callable[[], Visit]] = {
        "charts": partial(_visit, place, APP, "metrics", root),
        "one chart": partial(_visit, place, APP, "metrics", root, ONE_CHART),
        "runs": partial(_visit, place, APP, "", root),
        "compare": partial(_visit, place, APP, "compare", compared),
        "heat": partial(_visit, place, APP, "distributions", watched),
        "idle": partial(_visit, place, idle_script, "", root),
    }
    seen: dict[str, list[Visit]] = {kind: [] for kind in kinds}
    tensorboard: list[float] = []
    for _ in range(2 if place.quick else 5):
        for kind in random.sample([*kinds, TENSORBOARD], len(kinds) + 1):
            if kind in kinds:
                seen[kind].append(kinds[kind]())
            elif place.python("tensorboard") is not None:
                tensorboard.append(_tensorboard(place, num_event_rows))
    others: dict[str, Values] = {TENSORBOARD: tensorboard or NOT_INSTALLED}
    if tensorboard and num_event_rows != NUM_ROWS:
        others[TENSORBOARD] = f"{spread(tensorboard)} on {NUM_ROWS // num_event_rows}x fewer rows"
    charts, single, pages, idle = seen["charts"], seen["one chart"], seen["runs"], seen["idle"]
    drawn = [chart for visit in charts for chart in visit.charts]
    note = NOTE.format(rows=NUM_ROWS, metrics=NUM_METRICS, events=num_event_rows)
    note_page = NOTE_PAGE.format(torch="yes" if any(visit.torch for visit in pages + charts) else "no")
    note_rerun = NOTE_RERUN.format(charts=len(charts[0].charts), reruns=RERUNS)
    note_compare = NOTE_COMPARE.format(runs=COMPARED[0], metrics=COMPARED[2])
    heat = seen["heat"]
    note_heat = NOTE_HEAT.format(steps=WATCHED[0], values=WATCHED[1], bins=data_sets.num_bins(watched))
    small_mib = _added_mib([_visit(place, small_script, "", root)], idle[:1])[0]
    note_memory = NOTE_MEMORY.format(charts=len(charts[0].charts), small=small_mib, rows=NUM_ROWS)
    return [
        Row("start to first right chart, server CPU s", [v.first_chart_s for v in charts], others, [Target(2.0)], note),
        Row("start to all charts of the page, server CPU s", [v.page_s for v in charts], {}, [], note),
        Row("start to first page, server CPU s", [v.page_s for v in pages], {}, [Target(1.2)], note_page),
        Row("a rerun of the charts, server CPU ms", [v.rerun_ms for v in charts], {}, [Target(60)], note_rerun),
        Row("a rerun of Compare, server CPU ms", [v.rerun_ms for v in seen["compare"]], {}, [Target(60)], note_compare),
        Row("a rerun of a heat map, server CPU ms", [v.rerun_ms for v in heat], {}, [Target(60)], note_heat),
        Row(
            "chart of a heat map, rows",
            [max(c.num_rows for c in v.charts) for v in heat],
            {},
            [Target(4_000)],
            note_heat,
        ),
        Row(
            "chart of a heat map, kB",
            [max(c.num_bytes for c in v.charts) / 1e3 for v in heat],
            {},
            [Target(100)],
            note_heat,
        ),
        Row("largest chart, rows", [max(chart.num_rows for chart in drawn)], {}, [Target(4_000)], note_rerun),
        Row("largest chart, kB", [max(chart.num_bytes for chart in drawn) / 1e3], {}, [Target(100)], note_rerun),
        Row("memory above an idle Streamlit, one chart, MiB", _added_mib(single, idle), {}, [Target(100)], note_memory),
        Row("memory above an idle Streamlit, ten charts, MiB", _added_mib(charts, idle), {}, [], note_memory),
    ]


def _added_mib(visits: list[Visit], idle: list[Visit]) -> list[float]:
    return [(one.memory_bytes - nothing.memory_bytes) / 2**20 for one, nothing in zip(visits, idle, strict=True)]


def _visit(place: Place, script: Path, page: str, root: Path, query: str = "") -> Visit:
    with server(script, "--root", str(root)) as (pid, port), session(port) as connection:
        spent_s = partial(machine.tree_cpu_s, pid)
        drawn = run_script(connection, page, query, spent_s)
        place.problems += [f"app, page {page or 'runs'}: {error}" for error in drawn.errors]
        first = next((chart for chart in drawn.charts if _is_right(chart)), None)
        if page == "metrics" and first is None:
            place.problems.append("app: no chart shows the run's extremes and its last value")
        time.sleep(0.5)
        before_s = spent_s()
        for _ in range(RERUNS):
            run_script(connection, page, query, spent_s)
        time.sleep(0.5)
        rerun_ms = (spent_s() - before_s) / RERUNS * 1e3
        memory, torch = machine.tree_memory_bytes(pid), machine.has_mapped(pid, "libtorch")
        first_s = first.cpu_s if first is not None else drawn.cpu_s
        return Visit(first_s, drawn.cpu_s, rerun_ms, memory, drawn.charts, torch)


def _is_right(chart: Chart) -> bool:
    """Whether a chart holds the extremes and the last value of the first metric."""
    numbers: list[np.ndarray] = []
    last = -1.0
    for table in chart.tables.values():
        if {"x", "y"} <= set(table.column_names) and table.num_rows:
            x = np.array(table["x"].to_pylist(), float)
            last = max(last, float(x.max()))
            columns = [name for name in ("y", "low", "high") if name in table.column_names]
            numbers += [np.array(table[name].to_pylist(), float) for name in columns]
    if not numbers:
        return False
    shown, truth = np.concatenate(numbers), workload.table(0, NUM_ROWS, 1)[:, 0]
    found = (np.nanmin(shown), np.nanmax(shown))
    return last == NUM_ROWS - 1 and np.allclose(found, (truth.min(), truth.max()), rtol=1e-12)


def _tensorboard(place: Place, num_rows: int) -> float:
    """CPU seconds of TensorBoard's server until one chart's answer holds the last step."""
    folder = events(place, 1, num_rows, NUM_METRICS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port), "--load_fast", "true"]
    command = [str(place.python("tensorboard")), "-m", "tensorboard.main", *options]
    query = urlencode({"run": "run-0000", "tag": workload.NAMES[0]})
    url = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?{query}"
    quiet, began = subprocess.DEVNULL, time.monotonic()
    with subprocess.Popen(command, cwd=place.work, env=environment(), stdout=quiet, stderr=quiet) as process:
        try:
            while time.monotonic() - began < LIMIT_S and process.poll() is None:
                time.sleep(0.25)
                if _last_step(url) == num_rows - 1:
                    return machine.tree_cpu_s(process.pid)
        finally:
            process.terminate()
    place.problems.append(f"TensorBoard's server had not the last step after {LIMIT_S:.0f} s")
    return float("nan")


def _last_step(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            points = json.loads(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None
    return int(points[-1][1]) if points else None
