"""What tests of several layers need."""

import numpy as np
import pytest

from explorer.storage import layout, segments
from explorer.storage.bins import histogram_of
from explorer.storage.live import read_journal
from explorer.storage.tensors import TensorRow


@pytest.fixture(scope="session")
def rows_of():
    """`rows_of(run_dir)` is every row on disk as (attempt, rank, step, {metric: value}), in the order of the format.

    Read through the storage layer alone, which verifies every checksum; a damaged place in a journal is an error here.
    """

    def read(run_dir, table="scalars"):
        rows = []
        for file in layout.list_segments(run_dir, table):
            if file.name.kind == "journal":
                tables, damaged = read_journal(file.path)
                assert damaged == 0
            else:
                tables = [segments.read_columns(file.path)]
            for found in tables:
                columns = [column.to_pylist() for column in found.columns]
                for step, _, *values in zip(*columns, strict=True):
                    logged = zip(found.column_names[2:], values, strict=True)
                    record = {name: value for name, value in logged if value is not None}
                    rows.append((file.name.attempt, file.name.rank, step, record))
        return rows

    return read


def tensor_row(step=0, name="layers.0.weight", kind="param", values=None, **changes):
    """A row of the table `tensors` as a recorder makes it of some values."""
    values = np.random.default_rng(abs(step)).normal(size=300) if values is None else np.asarray(values, float)
    h = histogram_of(values)
    finite = values[np.isfinite(values)]
    row = TensorRow(
        step=step, wall_time=1_760_000_000_000_000 + step % 1_000, name=name, kind=kind, n=values.size,
        zeros=int(h.zeros[0]), nans=int(h.nans[0]), infs=int(h.infs[0]), underflow=0, mean=float(h.mean[0]),
        std=float(h.std[0]), min=float(h.min[0]), max=float(h.max[0]), norm=float(np.linalg.norm(finite)),
        m=int(h.m[0]), bins=h.bins, counts=h.counts,
    )  # fmt: skip
    return row._replace(**changes)


@pytest.fixture
def make_row():
    """`make_row(step, name, kind, values)` is a row of statistics; further keywords change its columns."""
    return tensor_row
