"""A snapshot file, opened for reading: one tensor is one short read, whose checksum is compared."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.errors import DamagedFile
from explorer.storage.damage import READ_ERRORS, first_line
from explorer.storage.layout import PARAMS, parse_snapshot_path
from explorer.storage.sealed import SealedFile, open_sealed

ITEM_BYTES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32", "complex32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 8),
    "complex128": 16,
}
"""Bytes of one value by the name of its dtype; no others are in snapshots."""
MAX_RANK: Final = 64
"""Dimensions of an array, as NumPy has them."""
MAX_BYTES: Final = 2**63 - 1
SCHEMA: Final = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.field("element", pa.int64(), nullable=False)), nullable=False),
        pa.field("stored_step", pa.int64()),
        pa.field("values", pa.large_binary()),
    ]
)


class StoredTensor(NamedTuple):
    """What the index says of one tensor.

    Attributes:
        role: `param`, `buffer` or `optimizer`.
        dtype: a key of `ITEM_BYTES`.
        shape: sizes.
        crc32: of its bytes.
        stored_step: the snapshot that holds the bytes, when it is another one.
        places: (first byte in the file, bytes) of its chunks.
        tied_to: the first name of this tensor, when this is a further one.
    """

    role: str
    dtype: str
    shape: tuple[int, ...]
    crc32: int
    stored_step: int | None
    places: tuple[tuple[int, int], ...]
    tied_to: str | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of the values, wherever they are."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class SnapshotFile:
    """A snapshot open for reading. A context manager; see `open_snapshot_file`.

    Attributes:
        meta: its index.
        step: its step.
        entries: name to what is known of each tensor, in the order of the model.
        is_dropped: whether it was deleted and only keeps what others refer to.
        reference: the user's own file that holds the parameters, as it was said; None as a rule. Never opened by us.
    """

    def __init__(self, file: SealedFile, before: SnapshotFile | None) -> None:
        self._file = file
        self.meta = file.meta
        self.path = file.path
        self.step: int
        self.entries: dict[str, StoredTensor]
        if before is not None and before.meta is file.meta:
            self.step, self.entries = before.step, before.entries
        else:
            self.step, self.entries = _entries(file)
        self.is_dropped = self.meta.get("dropped") is True
        self.reference = _reference(self.meta.get("reference"))

    def read_bytes(self, name: str, into: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor that this file holds itself: uint8[num_bytes].

        Args:
            name: the tensor's.
            into: an array of as many bytes, which is filled and returned; None: a new one.

        Raises:
            KeyError: the file does not have the bytes of that tensor.
            DamagedFile: their checksum is wrong.
        """
        entry = self.entries[name]
        if entry.stored_step is not None:
            raise KeyError(name)
        values = np.empty(entry.num_bytes, np.uint8) if into is None else into
        view, at = memoryview(values), 0
        try:
            for start, size in entry.places:
                self._file.read_into(start, view[at : at + size])
                at += size
            if zlib.crc32(view) != entry.crc32:
                raise ValueError(f"has a wrong checksum in tensor {name!r}")
        except READ_ERRORS as error:
            raise DamagedFile(self.path, f"is damaged: {first_line(error)}") from error
        return values

    def check(self) -> None:
        """Read everything, compare all checksums, and the index with the footer. Raises DamagedFile."""
        self._file.check_all()
        self._file.check_schema(SCHEMA)
        for name, entry in self.entries.items():
            if entry.stored_step is None:
                self.read_bytes(name)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> SnapshotFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_snapshot_file(path: str | Path, before: SnapshotFile | None = None) -> SnapshotFile:
    """Open a snapshot; its ends and its index are checked here, values when they are read.

    Args:
        path: the file.
        before: the snapshot as it was opened before; what was checked then is not read again if it is still the same.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is torn, foreign, a link, or says impossible things.
        UnsupportedFormat: a newer version wrote it.
    """
    file = open_sealed(path, None if before is None else before._file)
    try:
        opened = SnapshotFile(file, before)
        said = [file.meta.get(key) for key in ("table", "step", "attempt", "rank")]
        if said != [PARAMS, *(parse_snapshot_path(file.path) or said[1:])]:
            raise DamagedFile(path, "belongs to another place than its name says")
    except BaseException:
        file.close()
        raise
    return opened


def _entries(file: SealedFile) -> tuple[int, dict[str, StoredTensor]]:
    try:
        step = file.meta["step"]
        found = {name: _entry(file, said) for name, said in file.meta["index"].items()}
        if not _is_count(step) or any(entry.stored_step == step for entry in found.values()):
            raise ValueError("has tensors whose bytes are nowhere")
    except (*READ_ERRORS, AttributeError) as error:
        raise DamagedFile(file.path, f"has a damaged index: {first_line(error)}") from error
    return step, found


def _entry(file: SealedFile, said: dict[str, Any]) -> StoredTensor:
    role, dtype, shape, crc32 = said["role"], said["dtype"], said["shape"], said["crc32"]
    stored_step, places, tied_to = said.get("stored_step"), said["places"], said.get("tied_to")
    held = end = 0
    for start, size in places:
        if not _is_count(start) or not _is_count(size):
            raise ValueError("says impossible things of a tensor")
        held, end = held + size, max(end, start + size)
    fits = type(role) is str and dtype in ITEM_BYTES and type(shape) is list and _is_count(crc32)
    fits = fits and (tied_to is None or type(tied_to) is str) and (stored_step is None or _is_count(stored_step))
    if not fits or not is_shape(shape, dtype):
        raise ValueError("says impossible things of a tensor")
    kept = tuple((start, size) for start, size in places)
    entry = StoredTensor(role, dtype, tuple(shape), crc32, stored_step, kept, tied_to)
    if stored_step is None and (held != entry.num_bytes or max(held, end) > file.size):
        raise ValueError("says that a tensor has more bytes, or fewer, than it can have")
    return entry


def is_shape(found: Sequence[object], dtype: str) -> bool:
    """Whether an array of a dtype of `ITEM_BYTES` can have these sizes, one of 0 among them or not."""
    sizes = [value for value in found if type(value) is int and 0 <= value <= MAX_BYTES]
    if not len(sizes) == len(found) <= MAX_RANK:
        return False
    # NumPy and PyTorch multiply all of them, and give up where that is too much, even if one of them is 0.
    return math.prod(max(size, 1) for size in sizes) * ITEM_BYTES[dtype] <= MAX_BYTES


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _reference(said: object) -> dict[str, Any] | None:
    if not isinstance(said, dict) or not isinstance(said.get("path"), str):
        return None
    return said
