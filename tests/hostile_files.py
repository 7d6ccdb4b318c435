"""Files that a stranger may have put into a run: each function writes one in the place of a good one."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Write = Callable[[Path, Path], None]  # (the file, a marker that nothing may create)


class Touch:
    """Unpickled, it creates its file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def _table(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def _with_metadata(path: Path, metadata: dict[bytes, bytes]) -> None:
    table = _table(path)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata}), path)


def extension_with_pickle(path: Path, marker: Path) -> None:
    """B1: a type whose description is a pickle, as CVE-2023-47248 had it."""
    field = pa.field("x", pa.int64(), metadata={
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Touch(marker)),
    })  # fmt: skip
    pq.write_table(pa.table({"x": [1]}, schema=pa.schema([field])), path)


def pandas_metadata(path: Path, _: Path) -> None:
    """B2: what pandas wrote of the index, all wrong."""
    _with_metadata(path, {b"pandas": b'{"index_columns": ["nowhere"], "columns": [{"numpy_type": "M8[evil]"}]}'})


def not_utf8(path: Path, _: Path) -> None:
    """B3: texts that are none."""
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe")]
    )
    pq.write_table(pa.table({"name": text}), path)


def run_length_bomb(path: Path, _: Path) -> None:
    """B4: our columns, with 16 million rows of one value each, in a hundredth of their size at most."""
    schema = pa.schema([field.with_nullable(True) for field in _table(path).schema], _table(path).schema.metadata)
    rows = 4_000_000
    columns = [
        pa.repeat(pa.scalar(0, pa.int64()).cast(field.type), rows)
        if pa.types.is_primitive(field.type)
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    table = pa.table(columns, schema=schema)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _group in range(4):
            writer.write_table(table, row_group_size=rows)
    assert path.stat().st_size < 2**23


def dictionary_bomb(path: Path, _: Path) -> None:
    """B5: one long text, a million times."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"name": values}), path)


def many_columns(path: Path, _: Path) -> None:
    """B6: far more columns than we write."""
    pq.write_table(pa.table({f"c{place}": [1] for place in range(50_000)}), path)


def footer_of_4_gb(path: Path, _: Path) -> None:
    """B7: a footer larger than any file."""
    path.write_bytes(path.read_bytes()[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1")


def foreign_footer(path: Path, _: Path) -> None:
    """B8: a footer that says that a text is huge."""
    footer = b"\x15\x02\x19\x1c\x48" + b"\xff\xff\xff\xff\x0f" + b"x" * 40
    path.write_bytes(b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1")


def other_types(path: Path, _: Path) -> None:
    """B9: our columns, with other types."""
    table = _table(path)
    pq.write_table(pa.table({name: [3.5] * len(table) for name in table.column_names}), path)


def twice_the_same_column(path: Path, _: Path) -> None:
    """B10: two columns of one name."""
    table = _table(path)
    name = table.column_names[0]
    pq.write_table(table.append_column(name, table.column(0)), path)


def lying_numbers(path: Path, _: Path) -> None:
    """B11: every whole number is -1."""
    table = _table(path)
    for place, field in enumerate(table.schema):
        if pa.types.is_integer(field.type) and not pa.types.is_unsigned_integer(field.type):
            table = table.set_column(place, field, pa.array([-1] * len(table), field.type))
    pq.write_table(table, path)


def nested(path: Path, _: Path) -> None:
    """B12: lists in lists."""
    kind: pa.DataType = pa.int64()
    for _depth in range(200):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"x": pa.array([None], kind)}), path)


def no_rows(path: Path, _: Path) -> None:
    """B13: our columns, and nothing in them."""
    pq.write_table(_table(path).slice(0, 0), path)


def fifo(path: Path, _: Path) -> None:
    """B14: a pipe, which waits for ever."""
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, _: Path) -> None:
    """B14: a folder."""
    path.unlink()
    path.mkdir()


def link_to_device(path: Path, _: Path) -> None:
    """B14: a file without an end."""
    path.unlink()
    path.symlink_to("/dev/zero")


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pickled(path: Path, marker: Path) -> None:
    """A1 by another name."""
    path.write_bytes(pickle.dumps(Touch(marker)))


def mutated(seed: int) -> Write:
    """B15: a few bytes changed somewhere."""

    def write(path: Path, _: Path) -> None:
        data = bytearray(path.read_bytes())
        chance = random.Random(seed)
        for _place in range(3):
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        path.write_bytes(bytes(data))

    write.__name__ = f"mutated_{seed}"
    return write


TABLES: tuple[Write, ...] = (
    extension_with_pickle, pandas_metadata, not_utf8, run_length_bomb, dictionary_bomb, many_columns, footer_of_4_gb,
    foreign_footer, other_types, twice_the_same_column, lying_numbers, nested, no_rows, fifo, folder, link_to_device,
    empty, cut, pickled, *(mutated(seed) for seed in range(6)),
)  # fmt: skip


def _program(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(gzip.decompress(path.read_bytes()))
    change(document)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))


def program(name: str, change: Callable[[dict[str, Any]], object]) -> Write:
    """A captured program with something changed in its document."""

    def write(path: Path, _: Path) -> None:
        _program(path, change)

    write.__name__ = name
    return write


def _node(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["graph"]["nodes"][0].update(changes)


def deep(path: Path, _: Path) -> None:
    """A22: brackets ten thousand deep."""
    text = '{"format": 1, "graph": ' + "[" * 10_000 + "]" * 10_000 + "}"
    path.write_bytes(gzip.compress(text.encode()))


def gzip_bomb(path: Path, _: Path) -> None:
    """Expands to 100 MB."""
    path.write_bytes(gzip.compress(b" " * 100_000_000))


def no_json(path: Path, _: Path) -> None:
    path.write_bytes(gzip.compress(b'{"format": NaN'))


PROGRAMS: tuple[Write, ...] = (
    program("os_system", _node(op="os.system")),
    program("eval", _node(op="builtins.eval")),
    program("from_file", _node(op="aten.from_file.default", args=["/etc/passwd", False, 10])),
    program("dunder", _node(op="aten.__class__.default")),
    program("unknown", _node(op="aten.operator_of_tomorrow.default")),
    program("reads_itself", lambda document: _node(args=[{"node": document["graph"]["nodes"][0]["name"]}])(document)),
    program("no_such_dtype", _node(kwargs={"dtype": {"dtype": "float3"}})),
    program("another_format", lambda document: document.update(format=99)),
    program("factory", lambda document: document.update(factory="os:system", route="factory")),
    program("lying_weight", lambda document: next(iter(document["weights"].values())).update(shape=[2**40])),
    program("constant_of_nowhere", lambda document: next(iter(document["weights"].values())).update(role="constant")),
    deep, gzip_bomb, no_json, fifo, folder, link_to_device, empty, cut, pickled,
)  # fmt: skip

NAMES: tuple[str, ...] = (
    "![i](http://evil.example/x.png)", "[a](http://evil.example)", "http://evil.example", "www.evil.example",
    "a@evil.example", "[x](javascript:alert(1))", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>", ":red[ok]", ":material/delete:", ":streamlit:", ":green-badge[passed]",
    "$\\href{http://evil.example}{x}$", "# head\n- list\n|a|b|\n```x", "[^1]", "\u202egnp.exe", "\u200bzero",
    "x" * 5_000, "nul\0", "a.b", "a[0]", "a'b\"c", "__proto__", "datum", "toString()", '"];evil', "<b>html</b>",
    "\x1b[31mred", "=cmd|' /C calc'!A0",
)  # fmt: skip
"""C1 to C30, as far as a text of a recorder can hold them."""
