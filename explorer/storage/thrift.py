"""Thrift's compact protocol, as far as Parquet's metadata need it.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_TRUE, _FALSE, _BYTE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 3, 5, 6, 8, 9, 12
_WHOLE: Final = (4, _I32, _I64)
_MAX_FIELDS: Final = 32
_MAX_DEPTH: Final = 4


@dataclass(frozen=True)
class Int32:
    """A number of 32 bits; plain integers have 64."""

    value: int


@dataclass(frozen=True)
class Encoded:
    """A structure that is encoded already."""

    data: bytes


Value = bool | int | Int32 | str | bytes | Encoded | Sequence["Value"]


def encode_struct(fields: dict[int, Value | None]) -> Encoded:
    """A structure of fields by number, in ascending order; None is left out."""
    out = bytearray()
    last = 0
    for number, value in fields.items():
        if value is None:
            continue
        kind = _kind(value)
        out.append((number - last) << 4 | kind)
        last = number
        if kind not in (_TRUE, _FALSE):
            out += _encode(value)
    out.append(0)
    return Encoded(bytes(out))


def _kind(value: Value) -> int:
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        return _I64
    if isinstance(value, Int32):
        return _I32
    if isinstance(value, str | bytes):
        return _BINARY
    return _STRUCT if isinstance(value, Encoded) else _LIST


def _encode(value: Value) -> bytes:
    if isinstance(value, Encoded):
        return value.data
    if isinstance(value, int):
        return varint(value << 1 if value >= 0 else ~(value << 1))
    if isinstance(value, Int32):
        return _encode(value.value)
    if isinstance(value, str):
        return _encode(value.encode())
    if isinstance(value, bytes):
        return varint(len(value)) + value
    head = _kind(value[0]) if len(value) else _STRUCT
    size = bytes([len(value) << 4 | head]) if len(value) < 15 else bytes([0xF0 | head]) + varint(len(value))
    return size + b"".join(map(_encode, value))


def varint(value: int) -> bytes:
    """A number that is not negative, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads structures out of bytes that nobody vouches for.

    Attributes:
        at: where the next one begins.
    """

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self.at = data, at

    def read_struct(self, path: tuple[int, ...] = ()) -> dict[tuple[int, ...], int]:
        """The whole numbers of a structure by the numbers of their fields, (5, 1) for field 1 of field 5.

        Raises:
            ValueError: it is cut, holds a list, or is nested more deeply than any of ours.
        """
        found: dict[tuple[int, ...], int] = {}
        number = 0
        for _ in range(_MAX_FIELDS):
            head = self._byte()
            if head == 0:
                return found
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._signed()
            if kind in _WHOLE:
                found[(*path, number)] = self._signed()
            elif kind == _STRUCT and len(path) < _MAX_DEPTH:
                found |= self.read_struct((*path, number))
            elif kind == _BINARY:
                size = self._varint()
                self.at += size
            elif kind == _BYTE:
                self._byte()
            elif kind not in (_TRUE, _FALSE):
                break
        raise ValueError("has a page header that is none of ours")

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise ValueError("has a page header that is cut")
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("has a page header that is none of ours")

    def _signed(self) -> int:
        bits = self._varint()
        return (bits >> 1) ^ -(bits & 1)
