"""Messages between the two processes: a JSON header, then the raw bytes of arrays. Neither side trusts the other's.

A message is `XPS1`, the header's length and the body's length (uint64 each, little-endian), the header in UTF-8 and
the body. The header is `{"kind": text, "value": plain, "arrays": [[dtype, shape], ...]}`; the body is the arrays'
elements one after the other, C order, little-endian. In the value, three objects with one key stand for what JSON
lacks: `{"$array": index}`, `{"$float": "nan" | "inf" | "-inf"}` and `{"$table": {column: value, ...}}`.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from explorer.errors import SandboxError
from explorer.storage.memory import empty_arrays

if TYPE_CHECKING:
    import pandas as pd

_MAGIC: Final = b"XPS1"
_START: Final = struct.Struct("<4sQQ")
MAX_HEADER_BYTES: Final = 64 * 2**20
MAX_BODY_BYTES: Final = 8 * 2**30
_MAX_ARRAYS: Final = 200_000
_MAX_RANK: Final = 32
_MAX_DEPTH: Final = 40
_DTYPES: Final = frozenset(
    ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
)
_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class Message:
    """A kind and a value: numbers, texts, lists, dictionaries with text keys, NumPy arrays and tables of them."""

    kind: str
    value: Any


def send(stream: BinaryIO, message: Message) -> None:
    """Write a message. Raises SandboxError: the value cannot be told; OSError: the other side is gone."""
    arrays: list[np.ndarray[Any, Any]] = []
    value = _packed(message.value, arrays, 0)
    shapes = [[array.dtype.name, list(array.shape)] for array in arrays]
    header = json.dumps({"kind": message.kind, "value": value, "arrays": shapes}, allow_nan=False).encode()
    size = sum(array.nbytes for array in arrays)
    if len(header) > MAX_HEADER_BYTES or size > MAX_BODY_BYTES:
        raise SandboxError(f"a message of {len(header) + size:,} bytes is too large for the sandbox")
    stream.write(_START.pack(_MAGIC, len(header), size))
    stream.write(header)
    for array in arrays:
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """Read a message; None where the other side has closed. Raises SandboxError: it is cut, foreign or too large."""
    start = stream.read(_START.size)
    if not start:
        return None
    if len(start) < _START.size:
        raise SandboxError("a message of the sandbox is cut")
    magic, header_size, body_size = _START.unpack(start)
    if magic != _MAGIC or header_size > MAX_HEADER_BYTES or body_size > MAX_BODY_BYTES:
        raise SandboxError("a message of the sandbox is not one of ours, or too large")
    header = _parse(_exactly(stream, header_size))
    arrays = _arrays(header.get("arrays"), body_size, stream)
    kind = header.get("kind")
    if not isinstance(kind, str):
        raise SandboxError("a message of the sandbox has no kind")
    return Message(kind, _unpacked(header.get("value"), arrays, 0))


def _parse(data: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SandboxError(f"a message of the sandbox is no JSON ({type(error).__name__})") from error
    if not isinstance(header, dict):
        raise SandboxError("a message of the sandbox is no object")
    return header


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def _arrays(listed: object, body_size: int, stream: BinaryIO) -> list[np.ndarray[Any, Any]]:
    if not isinstance(listed, list) or len(listed) > _MAX_ARRAYS:
        raise SandboxError("a message of the sandbox has no list of arrays")
    shapes = [_shape(entry) for entry in listed]
    sizes = [dtype.itemsize * math.prod(shape) for dtype, shape in shapes]
    if sum(sizes) != body_size:
        raise SandboxError("a message of the sandbox has arrays of other sizes than it says")
    found = empty_arrays(sizes)
    for array in found:
        _fill(stream, memoryview(array))
    return [array.view(dtype).reshape(shape) for array, (dtype, shape) in zip(found, shapes, strict=True)]


def _shape(entry: object) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and entry[0] in _DTYPES:
        shape = entry[1]
        good = isinstance(shape, list) and len(shape) <= _MAX_RANK
        if good and all(type(size) is int and 0 <= size <= MAX_BODY_BYTES for size in shape):
            return np.dtype(entry[0]).newbyteorder("<"), tuple(shape)
    raise SandboxError("a message of the sandbox has an array of an unknown kind")


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    data = bytearray(size)
    _fill(stream, memoryview(data))
    return data


def _fill(stream: BinaryIO, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise SandboxError("a message of the sandbox is cut")
        done += count


def _packed(value: Any, arrays: list[np.ndarray[Any, Any]], depth: int) -> Any:  # noqa: ANN401 - any plain value
    if depth > _MAX_DEPTH:
        raise SandboxError(f"a value for the sandbox nests more than {_MAX_DEPTH} deep")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": "nan" if math.isnan(value) else f"{value:g}"}
    if isinstance(value, list | tuple):
        return [_packed(part, arrays, depth + 1) for part in value]
    if _is_table(value):
        columns = {str(name): _column(value[name]) for name in value.columns}
        return {"$table": _packed(columns, arrays, depth + 1)}
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise SandboxError(f"an array for the sandbox should hold numbers; found {value.dtype}")
        arrays.append(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).reshape(value.shape))
        return {"$array": len(arrays) - 1}
    if isinstance(value, Mapping) and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _packed(part, arrays, depth + 1) for key, part in value.items()}
    raise SandboxError(f"a value for the sandbox should be plain; found a {type(value).__name__}")


def _is_table(value: object) -> bool:
    """Whether it is a DataFrame; pandas takes a quarter of a second to import, and most answers hold no table."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _column(column: pd.Series[Any]) -> np.ndarray[Any, Any] | list[Any]:
    values = column.to_numpy()
    return values if values.dtype.name in _DTYPES else [str(value) for value in values]


def _unpacked(value: Any, arrays: list[np.ndarray[Any, Any]], depth: int) -> Any:  # noqa: ANN401
    if depth > _MAX_DEPTH:
        raise SandboxError(f"a value of the sandbox nests more than {_MAX_DEPTH} deep")
    if isinstance(value, list):
        return [_unpacked(part, arrays, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    special = next((key for key in value if key.startswith("$")), None)
    if special is None:
        return {key: _unpacked(part, arrays, depth + 1) for key, part in value.items()}
    found = value[special]
    if len(value) == 1 and special == "$array" and type(found) is int and 0 <= found < len(arrays):
        return arrays[found]
    if len(value) == 1 and special == "$float" and isinstance(found, str) and found in _FLOATS:
        return _FLOATS[found]
    if len(value) == 1 and special == "$table" and isinstance(found, dict):
        return _table({key: _unpacked(part, arrays, depth + 1) for key, part in found.items()})
    raise SandboxError("a value of the sandbox is of an unknown kind")


def _table(columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    lengths = {len(column) if isinstance(column, list | np.ndarray) else -1 for column in columns.values()}
    flat = all(not isinstance(column, np.ndarray) or column.ndim == 1 for column in columns.values())
    if len(lengths) > 1 or -1 in lengths or not flat:
        raise SandboxError("a table of the sandbox has columns of different lengths")
    return pd.DataFrame(columns)
