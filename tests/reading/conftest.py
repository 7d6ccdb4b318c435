"""Runs on disk, written through the storage layer, and the pandas frame that is the truth about each."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from explorer.reading.scalars import SeriesStore
from explorer.storage.disk import Disk
from explorer.storage.journal import Header, Shape, checksums
from explorer.storage.layout import SegmentName
from explorer.storage.segments import write_segment

FIRST_WALL_US = 1_760_000_000_000_000


class QuickDisk(Disk):
    """Real files, without waiting for the device."""

    def write_file(self, path, data, *, sync):
        super().write_file(path, data, sync=False)


class RunWriter:
    """Writes the files of one run; `truth` collects its rows in the order in which they count."""

    first_wall_us = FIRST_WALL_US

    def __init__(self, root, run_id="digits-cnn-aaaa2222"):
        self.path = Path(root) / run_id
        for folder in ("attempts", "summary", "scalars", "system"):
            (self.path / folder).mkdir(parents=True)
        self.identity = {
            "format": 1,
            "run_id": run_id,
            "name": run_id,
            "created": "2026-11-20T10:00:00.000Z",
            "config": {},
        }
        self.write_json("run.json", self.identity)
        self.truth = pd.DataFrame({"attempt": [], "rank": [], "step": [], "wall_time": []})

    def write_json(self, name, value):
        target = self.path / name
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        os.replace(temporary, target)

    def attempt(self, attempt=1, rank=0, **changes):
        self.write_json(
            f"attempts/{attempt:04d}-{rank:05d}.json",
            {"format": 1, "attempt": attempt, "rank": rank, "started": "2026-11-20T10:00:00Z", "world_size": 1}
            | {"resumed_from_step": None, "config": {}, "argv": ["train.py"]}
            | changes,
        )

    def summary(self, attempt=1, rank=0, **changes):
        self.write_json(f"summary/{attempt:04d}-{rank:05d}.json", summary_record(self.identity, **changes))

    def segment(self, segment=1, attempt=1, rank=0, table="scalars", parts=None, **columns):
        """Columns as lists; None is a value that was not logged. `parts` is a list of such columns instead."""
        tables = [arrow_table(part) for part in (parts or [columns])]
        paths = write_segment(self.path, table, SegmentName(attempt, rank, segment), tables, disk=QuickDisk())
        if table == "scalars":
            self._note(attempt, rank, tables)
        return paths[0]

    def journal(self, segment=1, attempt=1, rank=0):
        return JournalWriter(
            self.path / "scalars" / SegmentName(attempt, rank, segment, 0, "journal").filename, attempt, rank, segment
        )

    def _note(self, attempt, rank, tables):
        for table in tables:
            frame = table.to_pandas()
            frame.insert(0, "attempt", attempt)
            frame.insert(1, "rank", rank)
            self.truth = pd.concat([self.truth, frame]) if len(self.truth) else frame

    def newest(self, metric, rank=0):
        """The last value per step, made with pandas; all from a newer attempt's first step on is its own."""
        rows = self.truth[self.truth["rank"] == rank].dropna(subset=[metric]).sort_values("attempt", kind="stable")
        for attempt, first in rows.groupby("attempt")["step"].first().items():
            rows = rows[(rows["attempt"] >= attempt) | (rows["step"] < first)]
        rows = rows.drop_duplicates("step", keep="last").sort_values("step")
        return rows["step"].to_numpy(), rows[metric].to_numpy(), rows["wall_time"].astype("int64").to_numpy()


class JournalWriter:
    """Rows as the recorder leaves them in a journal; each call to `rows` makes them visible at once."""

    def __init__(self, path, attempt, rank, segment):
        self.path = path
        self._shapes = {}
        self._monotonic_ns = 0
        path.write_bytes(Header(FIRST_WALL_US * 1000, attempt, rank, segment).encode() + bytes(1 << 20))
        self._at = 64

    def rows(self, **columns):
        names = tuple(name for name in columns if name != "step")
        added = b""
        if names not in self._shapes:
            kinds = "".join("q" if isinstance(columns[name][0], int) else "d" for name in names)
            self._shapes[names] = Shape(len(self._shapes) + 1, names, kinds)
            added = self._shapes[names].definition() * 2
        shape = self._shapes[names]
        for values in zip(columns["step"], *(columns[name] for name in names), strict=True):
            self._monotonic_ns += 1_000_000
            row = bytearray(shape.row_bytes)
            shape.pack_into(row, 0, shape.head, values[0], self._monotonic_ns, *values[1:], 0)
            body = row[:-8]
            added += body + checksums(np.frombuffer(body, np.uint64).reshape(1, -1)).tobytes()
        with open(self.path, "r+b") as file:
            file.seek(self._at)
            file.write(added)
        self._at += len(added)


def summary_record(identity, **changes):
    record = {
        "format": 1, "name": identity["name"], "group": None, "tags": [], "notes": "", "created": identity["created"],
        "config": {"lr": 0.1, "model": {"width": 32}}, "state": "finished", "error": None, "heartbeat": 7,
        "heartbeat_every_s": 1.0, "started": "2026-11-20T10:00:00Z", "updated": "2026-11-20T10:10:00Z",
        "duration_s": 600.0, "host": "elsewhere", "pid": 12, "boot_id": "another", "process_start": 3.5,
        "last_step": 99, "rows": 100, "scalars": 100, "dropped_rows": 0, "refused_values": 0, "warnings": [],
        "overhead": {}, "metrics": {"train/loss": [100, 0.25, 99, 0.125, 80, 2.5, 0, 0, 0]},
    }  # fmt: skip
    return record | changes


def arrow_table(columns):
    rows = len(columns["step"])
    wall = columns.get("wall_us", [FIRST_WALL_US + 1_000 * int(step) for step in columns["step"]])
    arrays = {"step": pa.array(columns["step"], pa.int64()), "wall_time": pa.array(wall, pa.timestamp("us"))}
    for name, values in columns.items():
        if name not in ("step", "wall_us"):
            integers = all(isinstance(value, int) for value in values if value is not None)
            arrays[name] = pa.array(values, pa.int64() if integers else pa.float64())
    assert all(len(array) == rows for array in arrays.values())
    return pa.table(arrays)


@pytest.fixture
def flip_byte():
    """Change one bit of a file, at a byte counted from its start."""

    def flip(path, at):
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(bytes(data))

    return flip


@pytest.fixture
def noise():
    """As many values as asked for, the same ones each time."""
    return lambda count, seed=0: np.random.default_rng(seed).normal(size=count).tolist()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def run(root):
    return RunWriter(root)


@pytest.fixture
def make_run(root):
    return lambda run_id: RunWriter(root, run_id)


@pytest.fixture
def this_host():
    return socket.gethostname()


@pytest.fixture
def store():
    """Series of runs, looked at anew at each question."""
    return SeriesStore(fresh_s=0)
