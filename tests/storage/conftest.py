"""Tables, journals and segments as small as the tests need them."""

import struct

import numpy as np
import pyarrow as pa
import pytest

from explorer.storage.disk import Disk
from explorer.storage.journal import Header, Shape, checksums
from explorer.storage.segments import SegmentMeta, encode_segment
from explorer.storage.tensors import TensorSegments


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


@pytest.fixture
def segments(tmp_path):
    """The table of tensors of attempt 1, rank 0 of a run in `tmp_path`."""
    return TensorSegments(tmp_path, 1, 0, Disk())
