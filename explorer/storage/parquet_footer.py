"""Parquet footers of our own making.

They describe the pages of a snapshot, which we write ourselves, and a few row groups out of a larger file, so that
Parquet's reader decodes those and need not parse the footer of the whole, which takes longer than decoding them.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from explorer.storage.thrift import Encoded, Int32, Value, encode_struct

NO_COMPRESSION: Final = 0
ZSTD: Final = 6
PLAIN: Final = 0
RLE: Final = 3

_INT32, _INT64, _DOUBLE, _BYTE_ARRAY = 1, 2, 5, 6
_REQUIRED, _OPTIONAL, _REPEATED = 0, 1, 2
_LIST_TYPE: Final = 3
# Arrow type to Parquet's physical type and converted type.
_TYPES: Final[dict[pa.DataType, tuple[int, int | None]]] = {
    pa.int64(): (_INT64, None),
    pa.int32(): (_INT32, None),
    pa.int16(): (_INT32, 16),
    pa.int8(): (_INT32, 15),
    pa.float64(): (_DOUBLE, None),
    pa.string(): (_BYTE_ARRAY, 0),
    pa.large_binary(): (_BYTE_ARRAY, None),
    pa.timestamp("us"): (_INT64, None),
}
_MICROSECONDS_LOCAL: Final = encode_struct({8: encode_struct({1: False, 2: encode_struct({2: encode_struct({})})})})


@dataclass(frozen=True)
class ColumnChunk:
    """One column of one row group.

    Attributes:
        start: its first byte in the file.
        size: bytes in the file.
        num_values: values, nulls included; of a list, its entries, an empty list counting as one.
        num_bytes: when decompressed, with the headers of the pages.
        dictionary_bytes: of the dictionary page at its beginning, 0 when there is none.
    """

    start: int
    size: int
    num_values: int
    num_bytes: int
    dictionary_bytes: int = 0


def encode_schema(schema: pa.Schema) -> list[Encoded]:
    """Parquet's description of columns: flat ones, and lists of flat elements."""
    elements = [encode_struct({4: "schema", 5: Int32(len(schema))})]
    for field in schema:
        if pa.types.is_list(field.type):
            outer = {3: _repetition(field), 4: field.name, 5: Int32(1), 6: Int32(_LIST_TYPE)}
            elements.append(encode_struct(outer))
            elements.append(encode_struct({3: Int32(_REPEATED), 4: "list", 5: Int32(1)}))
            elements.append(_leaf(field.type.value_field.with_name("element")))
        else:
            elements.append(_leaf(field))
    return elements


def _repetition(field: pa.Field) -> Int32:
    return Int32(_OPTIONAL if field.nullable else _REQUIRED)


def _leaf(field: pa.Field) -> Encoded:
    physical, converted = _TYPES[field.type]
    return encode_struct(
        {
            1: Int32(physical),
            3: _repetition(field),
            4: field.name,
            6: None if converted is None else Int32(converted),
            10: _MICROSECONDS_LOCAL if pa.types.is_timestamp(field.type) else None,
        }
    )


def encode_footer(
    schema: pa.Schema,
    elements: Sequence[Encoded],
    groups: Sequence[tuple[int, Sequence[ColumnChunk]]],
    codec: int,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """A footer with the eight bytes that follow it.

    Args:
        schema: the columns.
        elements: `encode_schema` of it.
        groups: for each row group its rows and its column chunks.
        codec: `NO_COMPRESSION` or `ZSTD`.
        metadata: what the file says of itself.
    """
    paths: list[list[Value]] = []
    for field in schema:
        is_list = pa.types.is_list(field.type)
        paths.append([field.name, "list", "element"] if is_list else [field.name])
    kinds = [_TYPES[f.type.value_type if pa.types.is_list(f.type) else f.type][0] for f in schema]
    encoded: list[Value] = []
    for num_rows, chunks in groups:
        columns: list[Value] = [
            _chunk(chunk, kind, path, codec) for chunk, kind, path in zip(chunks, kinds, paths, strict=True)
        ]
        encoded.append(encode_struct({1: columns, 2: sum(chunk.num_bytes for chunk in chunks), 3: num_rows}))
    pairs: list[Value] = [encode_struct({1: key, 2: value}) for key, value in (metadata or {}).items()]
    footer = encode_struct(
        {
            1: Int32(2),
            2: list(elements),
            3: sum(num_rows for num_rows, _ in groups),
            4: encoded,
            5: pairs or None,
            6: "experiment-explorer",
        }
    ).data
    return footer + struct.pack("<I4s", len(footer), b"PAR1")


def arrow_schema_text(schema: pa.Schema) -> str:
    """What Arrow keeps under `ARROW:schema`, so that its readers give these very types."""
    return base64.b64encode(schema.serialize()).decode()


def _chunk(chunk: ColumnChunk, kind: int, path: Sequence[Value], codec: int) -> Encoded:
    fields: dict[int, Any] = {
        1: Int32(kind),
        2: [Int32(PLAIN), Int32(RLE)],
        3: path,
        4: Int32(codec),
        5: chunk.num_values,
        6: chunk.num_bytes,
        7: chunk.size,
        9: chunk.start + chunk.dictionary_bytes,
        11: chunk.start if chunk.dictionary_bytes else None,
    }
    return encode_struct({2: chunk.start, 3: encode_struct(fields)})
