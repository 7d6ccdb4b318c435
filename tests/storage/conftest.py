"""Tables, journals and segments as small as the tests need them."""

import struct
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from explorer.storage.bins import histogram_of
from explorer.storage.journal import Header, Shape, checksums
from explorer.storage.segments import SegmentMeta, encode_segment
from explorer.storage.tensors import TensorRow


@pytest.fixture
def make_table():
    """`make_table(a=[...], b=[...])` is a table of a segment; the columns are float64 unless they hold integers."""

    def make(steps=None, **metrics):
        size = len(next(iter(metrics.values()))) if metrics else len(steps)
        steps = range(size) if steps is None else steps
        columns = {"step": pa.array(steps, pa.int64()), "wall_time": pa.array(range(size), pa.timestamp("us"))}
        for name, values in metrics.items():
            whole = all(isinstance(value, int) for value in values)
            columns[name] = pa.array(values, pa.int64() if whole else pa.float64())
        return pa.table(columns)

    return make


@pytest.fixture
def make_segment(make_table):
    """`make_segment(a=[...])` is the bytes of a whole segment file."""

    def make(**metrics):
        table = make_table(**metrics)
        return encode_segment(table, SegmentMeta("scalars", 1, 0, 1, 0, 1, table.num_rows))

    return make


class JournalBytes:
    """A journal built byte by byte, as the format's description says."""

    def __init__(self):
        self.data = bytearray(Header(1_000_000_000_000, 1, 0, 1).encode())
        self.shapes = {}

    def define(self, names, kinds=None, times=2):
        shape = Shape(len(self.shapes) + 1, names, kinds or "d" * len(names))
        self.shapes[tuple(names)] = shape
        self.data += shape.definition() * times
        return shape

    def row(self, shape, step, *values, checksum=True):
        row = bytearray(shape.row_bytes)
        shape.pack_into(row, 0, shape.head, step, abs(step) % 10**12 * 1_000, *values, shape.whole)
        if checksum:
            words = np.frombuffer(bytes(row), np.uint64).reshape(1, -1)
            row[-8:] = struct.pack("@Q", int(checksums(words[:, :-1])[0]))
        self.data += row
        return self


@pytest.fixture
def journal_bytes():
    return JournalBytes()


def tensor_row(step=0, name="layers.0.weight", kind="param", values=None, **changes):
    """A row of the table `tensors` as a recorder makes it of some values."""
    values = np.random.default_rng(abs(step)).normal(size=300) if values is None else np.asarray(values, float)
    h = histogram_of(values)
    finite = values[np.isfinite(values)]
    row = TensorRow(
        step=step, wall_time=1_760_000_000_000_000 + step % 1_000, name=name, kind=kind, n=values.size,
        zeros=int(h.zeros[0]),
        nans=int(h.nans[0]), infs=int(h.infs[0]), underflow=0, mean=float(h.mean[0]), std=float(h.std[0]),
        min=float(h.min[0]), max=float(h.max[0]), norm=float(np.linalg.norm(finite)), m=int(h.m[0]), bins=h.bins,
        counts=h.counts,
    )  # fmt: skip
    return replace(row, **changes)


@pytest.fixture
def make_row():
    return tensor_row
