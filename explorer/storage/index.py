"""What a reader has to know of a segment to read one metric of it, in a form that is read at once.

To parse a Parquet footer takes 4 us for each column, and a chart needs one of them. So the same facts stand once more
right before our checksums, where Parquet readers do not look either:

    a JSON object in ASCII | u32 crc32 of it | "EXI1"

The object holds what the footer's metadata hold under `explorer` and

    columns   the names of all columns, in order
    kinds     a letter for each metric's column: d float64, q int64
    counts    how many values each metric's column has
    steps     [first, stride] when the step of row i is first + i * stride with a stride above 0, else null

A segment without an index, such as the older ones, is read by its footer.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, NamedTuple

import pyarrow as pa

from explorer.storage.checksums import Source
from explorer.storage.columns import numbers
from explorer.storage.points import EvenSteps, even_steps

MAGIC = b"EXI1"
_END = struct.Struct("<I4s")
_OWN_KEYS = ("columns", "kinds", "counts", "steps")
_KINDS = frozenset("dq")


class Index(NamedTuple):
    """The index of a segment. Its checksum was right, but whoever fabricates a file can compute that too.

    Attributes:
        meta: what the footer says as well.
        columns: names of all columns.
        kinds: a letter for each metric's column.
        counts: values in each metric's column.
        steps: the steps of all rows, or None.
    """

    meta: dict[str, Any]
    columns: list[str]
    kinds: str
    counts: list[int]
    steps: EvenSteps | None


def encode_index(meta: dict[str, Any], table: pa.Table) -> bytes:
    """The bytes of the index of a table with the columns `step`, `wall_time` and metrics."""
    steps = even_steps(numbers(table.column(0)))
    described = {
        "columns": table.column_names,
        "kinds": "".join("q" if kind == pa.int64() else "d" for kind in table.schema.types[2:]),
        "counts": [table.num_rows - column.null_count for column in table.columns[2:]],
        "steps": steps and [steps.first, steps.stride],
    }
    text = json.dumps({**meta, **described}, separators=(",", ":")).encode("ascii")
    return text + _END.pack(zlib.crc32(text), MAGIC)


def read_index(file: Source, start: int, end: int) -> Index | None:
    """The index that fills these bytes of a file, or None when there are none.

    Raises:
        ValueError: it is damaged, or says impossible things.
        OSError: it cannot be read.
    """
    if start == end:
        return None
    data = file.read_at(start, end - start) if end - start > _END.size else b""
    text, ending = data[: -_END.size], data[-_END.size :]
    if len(data) != end - start or ending != _END.pack(zlib.crc32(text), MAGIC):
        raise ValueError("has a damaged index")
    try:
        found = json.loads(text)
        meta = {key: value for key, value in found.items() if key not in _OWN_KEYS}
        columns, kinds, counts, steps = (found[key] for key in _OWN_KEYS)
        rows = meta["rows"]
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("has an index that is none of ours") from error
    if not _is_possible(columns, kinds, counts, steps, rows):
        raise ValueError("has an index that says impossible things")
    return Index(meta, columns, kinds, counts, EvenSteps(steps[0], steps[1], rows) if steps else None)


def _is_possible(columns: object, kinds: object, counts: object, steps: object, rows: object) -> bool:
    if not (isinstance(columns, list) and isinstance(kinds, str) and isinstance(counts, list) and type(rows) is int):
        return False
    if not len(columns) - 2 == len(kinds) == len(counts) or not _KINDS.issuperset(kinds):
        return False
    named = all([type(name) is str for name in columns])
    return named and all([type(count) is int and 0 <= count <= rows for count in counts]) and _are_steps(steps, rows)


def _are_steps(steps: object, rows: int) -> bool:
    if not isinstance(steps, list):
        return steps is None
    if len(steps) != 2 or not type(steps[0]) is type(steps[1]) is int:
        return False
    first, stride = steps
    return bool(stride > 0 and -(2**63) <= first <= 2**63 - 1 - stride * rows)
