"""A snapshot as a safetensors file, which other tools load.

The format: 8 bytes length of the header, a JSON header, the bytes of all tensors one after the other.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from explorer.errors import UsageError
from explorer.storage.disk import temporary_beside

if TYPE_CHECKING:
    from explorer.reading.snapshots import Snapshot

_DTYPES: Final[Mapping[str, str]] = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0", "complex64": "C64",
}  # fmt: skip
_ALIGN: Final = 8


def write_safetensors(
    snapshot: Snapshot, path: str | Path, roles: Iterable[str] = ("param", "buffer")
) -> tuple[str, ...]:
    """Write a snapshot's tensors, bit for bit, one at a time.

    Args:
        snapshot: which one.
        path: the file to write; one that is there is replaced.
        roles: which tensors; by default those of a module's state dict.

    Returns:
        Names of tensors that were left out because the format has no such dtype.

    Raises:
        UsageError: the snapshot refers to a file of the user's own instead of holding values.
        DamagedFile: a tensor cannot be read; nothing is left of the file.
        OSError: as writing does.
    """
    if snapshot.reference is not None and not snapshot.entries:
        raise UsageError(f"the values of step {snapshot.step:,} are in {snapshot.reference['path']} already")
    wanted = set(roles)
    chosen = [entry for entry in snapshot.entries.values() if entry.role in wanted]
    written = [entry for entry in chosen if entry.dtype in _DTYPES]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for entry in written:
        header[entry.name] = {
            "dtype": _DTYPES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": [at, at + entry.num_bytes],
        }
        at += entry.num_bytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGN)
    target = Path(path)
    temporary = temporary_beside(target)
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for entry in written:
                file.write(memoryview(snapshot.read_bytes(entry.name)))
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return tuple(entry.name for entry in chosen if entry.dtype not in _DTYPES)
