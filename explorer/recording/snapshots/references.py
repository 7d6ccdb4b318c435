"""A snapshot by reference: which safetensors file of the user's own holds the parameters."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 100_000_000  # the limit of the format itself
_LENGTH = struct.Struct("<Q")


def describe_reference(path: Path) -> dict[str, Any]:
    """What identifies a safetensors file without reading its values.

    Returns:
        ``path`` (absolute), ``size`` in bytes, ``mtime_ns``, and ``header_sha256``: of the JSON header without the
        eight bytes before it that hold its length.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no safetensors file.
    """
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        start = file.read(_LENGTH.size)
        (length,) = _LENGTH.unpack(start) if len(start) == _LENGTH.size else (0,)
        if not 2 <= length <= min(MAX_HEADER_BYTES, found.st_size - _LENGTH.size):
            raise ValueError(f"{path} is no safetensors file: its header would have {length:,} bytes")
        header = file.read(length)
    try:
        table = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file: its header is not JSON") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} is no safetensors file: its header is no JSON object")
    digest = hashlib.sha256(header).hexdigest()
    return {
        "path": str(path.absolute()),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "header_sha256": digest,
    }
