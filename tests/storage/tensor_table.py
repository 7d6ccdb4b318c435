"""The table of tensors as its tests look at it."""

import math

import numpy as np

from explorer.storage.tensor_rows import COLUMNS
from explorer.storage.tensors import TensorRow, open_tensor_segment


def paths(run_dir):
    return sorted((run_dir / "tensors").glob("*.parquet"))


def plain(row):
    """A row of ours, or of pyarrow, as comparable values."""
    values = row._asdict() if isinstance(row, TensorRow) else dict(row)
    for name in ("bins", "counts"):
        values[name] = None if values[name] is None else [int(value) for value in values[name]]
    values["wall_time"] = int(np.datetime64(values["wall_time"], "us").astype(np.int64))
    return {name: "NaN" if isinstance(v, float) and math.isnan(v) else v for name, v in values.items()}


def by_tensor(rows):
    return sorted((plain(row) for row in rows), key=lambda row: (row["kind"], row["name"], row["step"]))


def read_all(run_dir):
    found = []
    for path in paths(run_dir):
        with open_tensor_segment(path) as segment:
            found += segment.read(COLUMNS).to_pylist()
    return found
