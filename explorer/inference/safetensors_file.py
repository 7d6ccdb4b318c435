"""Read a safetensors file: 8 bytes length of the header, a JSON header, the bytes of all tensors.

Everything that the header says is checked against the file before a tensor is made. The format:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import itertools
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor

from explorer.errors import DamagedFile
from explorer.inference.tensors import tensor_from
from explorer.storage.snapshot_files import ITEM_BYTES, is_shape

MAX_HEADER_BYTES: Final = 100_000_000
_DTYPES: Final[Mapping[str, str]] = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "C64": "complex64",
}  # fmt: skip


@dataclass(frozen=True)
class SafetensorsEntry:
    """A tensor: torch's name of its dtype, its sizes, and where in the file its bytes are."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


class SafetensorsFile:
    """A file whose header has been read and checked; values are read when asked for.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is no safetensors file, or not whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise DamagedFile(self.path, "is no safetensors file: its header has an impossible length")
            text = file.read(length)
        try:
            header = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedFile(self.path, f"is no safetensors file: its header is no JSON ({error})"[:200]) from error
        if not isinstance(header, dict):
            raise DamagedFile(self.path, "is no safetensors file: its header is no JSON object")
        self.entries = {
            name: self._entry(name, said, 8 + length, size) for name, said in header.items() if name != "__metadata__"
        }
        spans = sorted((entry.start, entry.start + entry.num_bytes) for entry in self.entries.values())
        if any(before[1] > after[0] for before, after in itertools.pairwise(spans)):
            raise DamagedFile(self.path, "has tensors that overlap")

    def read(self, name: str) -> Tensor:
        """A tensor, on the CPU, of its own memory. Raises KeyError, and DamagedFile when the file was cut since."""
        entry = self.entries[name]
        data = np.empty(entry.num_bytes, np.uint8)
        with self._open() as file:
            file.seek(entry.start)
            if file.readinto(memoryview(data)) != entry.num_bytes:
                raise DamagedFile(self.path, f"ends within the tensor {name!r}")
        return tensor_from(data, entry.dtype, entry.shape)

    def _open(self) -> Any:  # noqa: ANN401 - a binary file
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedFile(self.path, f"cannot be opened ({error.strerror})") from error
        file = open(fd, "rb")  # noqa: SIM115 - closed by the caller
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            file.close()
            raise DamagedFile(self.path, "is not a regular file")
        return file

    def _entry(self, name: str, said: object, base: int, size: int) -> SafetensorsEntry:
        try:
            dtype, shape, (start, end) = said["dtype"], said["shape"], said["data_offsets"]  # type: ignore[index]
            known = _DTYPES.get(dtype)
            if known is None or type(shape) is not list or not is_shape(shape, known):
                raise ValueError
            if not all(type(number) is int and number >= 0 for number in (start, end)):
                raise ValueError
            num_bytes = math.prod(shape) * ITEM_BYTES[known]
            if end - start != num_bytes or base + end > size:
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFile(self.path, f"says impossible things of the tensor {name[:80]!r}") from error
        return SafetensorsEntry(known, tuple(shape), base + start, num_bytes)
