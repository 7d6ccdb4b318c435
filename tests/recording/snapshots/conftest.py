"""Snapshots read back by plain pyarrow, without our own reader."""

import json
import time

import pyarrow.parquet as pq
import pytest


def read_file(path):
    """(what the footer says, {name: bytes of the rows}) of one file."""
    file = pq.ParquetFile(path)
    meta = json.loads(file.metadata.metadata[b"explorer"])
    values = {}
    for row in file.read(use_threads=False).to_pylist():
        if row["values"] is not None:
            values[row["name"]] = values.get(row["name"], b"") + row["values"]
    return meta, values


@pytest.fixture(scope="session")
def snapshot_files():
    """`snapshot_files(run_dir)` is {step: (what the footer says, {name: bytes in this file})}, dropped ones too."""

    def read(run_dir, name="0001-00000.parquet"):
        return {int(path.parent.name): read_file(path) for path in sorted((run_dir / "params").glob(f"*/{name}"))}

    return read


@pytest.fixture(scope="session")
def tensors_of(snapshot_files):
    """`tensors_of(run_dir)` is {step: {name: bytes}} of every snapshot that was not dropped, wherever the bytes are."""

    def read(run_dir):
        files = snapshot_files(run_dir)
        found = {}
        for step, (meta, values) in files.items():
            if not meta.get("dropped"):
                found[step] = {}
                for name, entry in meta["index"].items():
                    held = values if entry.get("stored_step") is None else files[entry["stored_step"]][1]
                    found[step][name] = held[entry.get("tied_to", name)]
        return found

    return read


@pytest.fixture
def wait_for():
    """`wait_for(condition)` until it holds, for at most 20 s."""

    def wait(condition):
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until, "waited for 20 s"
            time.sleep(0.005)

    return wait


@pytest.fixture
def written(wait_for):
    """`written(recorder)` waits until no snapshot is on its way; its counts."""

    def wait(recorder):
        task = next(task for task in recorder._writer.tasks if task.name == "snapshots")
        wait_for(lambda: not task.describe()["waiting"])
        return task.describe()

    return wait
