"""Runs on disk as a training leaves them, and the app opened on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from explorer.storage import process
from explorer.storage.bins import histogram_of
from explorer.storage.disk import Disk
from explorer.storage.layout import RunPaths, SegmentName
from explorer.storage.records import encode_number, write_json
from explorer.storage.segments import write_segment
from explorer.storage.tensors import TensorRow, TensorSegments

SCRIPT = Path(__file__).parents[2] / "streamlit_app.py"
PAGES = SCRIPT.parent / "explorer" / "app" / "pages"
FIRST_DAY = datetime(2026, 3, 1, 9, 0, tzinfo=timezone.utc)

MakeRun = Callable[..., str]
OpenApp = Callable[..., AppTest]
Tensors = Mapping[tuple[str, str], Mapping[int, Any]]
RecordTensors = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs that the app opens; empty."""
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setenv("EXPLORER_ROOT", str(folder))
    return folder


@pytest.fixture
def make_run(root: Path) -> MakeRun:
    """Write one whole run into the root and return its id; each is an hour younger than the one before."""
    numbers = itertools.count()

    def make(
        name: str = "digits",
        *,
        run_id: str | None = None,
        config: Mapping[str, Any] | None = None,
        series: Mapping[str, Sequence[float]] | None = None,
        state: str = "finished",
        error: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        notes: str = "",
        group: str | None = None,
        folder: Path | None = None,
    ) -> str:
        number = next(numbers)
        run_id = run_id or f"run-{number:04}"
        paths = RunPaths((folder or root) / run_id)
        created = (FIRST_DAY + timedelta(hours=number)).isoformat().replace("+00:00", "Z")
        series = {"train/loss": [2.3, 1.1, 0.6, 0.4]} if series is None else series
        num_rows = max((len(values) for values in series.values()), default=0)
        described = {
            "format": 1,
            "name": name,
            "group": group,
            "tags": list(tags),
            "notes": notes,
            "created": created,
            "config": dict(config or {}),
        }
        environment = {"python": "3.11.9", "platform": "Linux", "versions": {"torch": "2.13.0"}, "devices": ["cpu"]}
        started = {"argv": ["train.py", "--lr", "0.1"], "environment": environment, "git": None}
        (paths.run_dir / "summary").mkdir(parents=True)
        (paths.run_dir / "attempts").mkdir()
        (paths.run_dir / "scalars").mkdir()
        _write(paths.run_json, {**described, **started, "run_id": run_id, "seed": None})
        attempt = {"attempt": 1, "rank": 0, "started": created, "resumed_from_step": None, "host": "here", "pid": 1}
        _write(paths.attempt_json(1, 0), {"format": 1, **attempt, **started, "world_size": 1, "config": {}})
        if num_rows:
            name_of_segment = SegmentName(1, 0, 0, 0, "segment")
            write_segment(paths.run_dir, "scalars", name_of_segment, [_table(series, num_rows)], disk=Disk())
        _write(
            paths.summary_json(1, 0),
            {
                **described,
                "state": state,
                "error": error and {"type": "", "message": "", "traceback": "", **error},
                "heartbeat": 1,
                "heartbeat_every_s": 1.0,
                "started": created,
                "updated": created,
                "duration_s": 12.0 + 30 * number,
                **(process.identify() if state == "running" else {"host": "here", "pid": 1}),
                "last_step": num_rows - 1 if num_rows else None,
                "rows": num_rows,
                "scalars": sum(len(values) for values in series.values()),
                "dropped_rows": 0,
                "refused_values": 0,
                "warnings": [],
                "overhead": {"caller_s": 0.001, "writer_s": 0.01, "calls": num_rows, "fraction": 0.0001},
                "metrics": {metric: _totals(values) for metric, values in series.items()},
            },
        )
        return run_id

    return make


@pytest.fixture
def open_app(root: Path) -> OpenApp:
    """Open the app on the root, at a page and with the query of a link."""

    def open_page(page: str = "runs", **query: str) -> AppTest:
        app = AppTest.from_file(str(SCRIPT), default_timeout=30)
        for key, value in query.items():
            app.query_params[key] = value
        if page != "runs":
            app.switch_page(str(PAGES / f"{page}.py"))
        return app.run()

    return open_page


@pytest.fixture
def record_tensors(root: Path) -> RecordTensors:
    """Write tensors into a run: `{(name, kind): {step: values}}`, as the recorder samples them."""

    def record(run_id: str, tensors: Tensors, attempt: int = 1) -> None:
        segments = TensorSegments(root / run_id, attempt, 0, Disk())
        rows = [
            _tensor_row(name, kind, step, np.asarray(values, np.float32))
            for (name, kind), samples in tensors.items()
            for step, values in samples.items()
        ]
        segments.add(sorted(rows, key=lambda row: row.step))
        segments.finish()

    return record


def _tensor_row(name: str, kind: str, step: int, values: np.ndarray) -> TensorRow:
    found = histogram_of(values, step)
    counts = {field: int(getattr(found, field)[0]) for field in ("n", "zeros", "nans", "infs")}
    moments = {field: float(getattr(found, field)[0]) for field in ("mean", "std", "min", "max")}
    norm = float(np.linalg.norm(values[np.isfinite(values)].astype(np.float64)))
    return TensorRow(
        step, 1_000_000 * step, name, kind, **counts, **moments, underflow=0, norm=norm,
        m=int(found.m[0]), bins=np.asarray(found.bins), counts=np.asarray(found.counts),
    )  # fmt: skip


def _write(path: Path, value: object) -> None:
    write_json(path, value, disk=Disk())


def _table(series: Mapping[str, Sequence[float]], num_rows: int) -> pa.Table:
    wall = int(FIRST_DAY.timestamp() * 1e6) + 250_000 * np.arange(num_rows, dtype=np.int64)
    columns = {"step": pa.array(np.arange(num_rows)), "wall_time": pa.array(wall).cast(pa.timestamp("us"))}
    for metric, values in series.items():
        columns[metric] = pa.array([*map(float, values), *[None] * (num_rows - len(values))], pa.float64())
    return pa.table(columns)


def _totals(values: Sequence[float]) -> list[Any]:
    numbers = np.asarray(values, dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(numbers))
    low = int(finite[np.argmin(numbers[finite])]) if len(finite) else None
    high = int(finite[np.argmax(numbers[finite])]) if len(finite) else None
    return [
        len(numbers),
        encode_number(float(numbers[-1])) if len(numbers) else None,
        len(numbers) - 1 if len(numbers) else None,
        None if low is None else float(numbers[low]),
        low,
        None if high is None else float(numbers[high]),
        high,
        int(np.isnan(numbers).sum()),
        int(np.isinf(numbers).sum()),
    ]
