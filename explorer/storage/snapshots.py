"""Snapshots: the values of a model's tensors at one step, in one Parquet file a process.

A row is a chunk of at most 16 MB of one tensor. Small tensors share a row group of about 1 MB; a chunk of a larger one
has its own. The index says where in the file the bytes of each tensor stand, so one tensor is one short read.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from explorer.errors import UsageError
from explorer.storage.block import AFTER_FOOTER_BYTES, Chunk
from explorer.storage.crc import join_crc32
from explorer.storage.disk import Disk, temporary_beside
from explorer.storage.ends import META_KEY, encode_end, encode_index
from explorer.storage.layout import FORMAT_VERSION, PARAMS, list_snapshot_files
from explorer.storage.parquet_footer import (
    NO_COMPRESSION,
    ColumnChunk,
    arrow_schema_text,
    encode_footer,
    encode_schema,
)
from explorer.storage.plain_pages import (
    Page,
    lists_page,
    numbers_page,
    optional_bytes_page,
    optional_numbers_page,
    texts_page,
)
from explorer.storage.snapshot_files import ITEM_BYTES, SCHEMA, open_snapshot_file
from explorer.storage.tensor_rows import as_text

__all__ = ["CHUNK_BYTES", "SnapshotTensor", "drop_snapshot", "snapshot_path", "write_snapshot"]

CHUNK_BYTES: Final = 16 * 2**20
GROUP_BYTES: Final = 2**20
MAX_STEP: Final = 10**12 - 1
_LENGTH_BYTES: Final = 4  # what stands before each value in a page


@dataclass(frozen=True)
class SnapshotTensor:
    """One tensor of a snapshot.

    Attributes:
        name: fully qualified name, without the prefixes of wrappers.
        role: `param`, `buffer` or `optimizer`.
        dtype: torch's name without `torch.`, such as `bfloat16`.
        shape: sizes; empty for a scalar.
        data: its little-endian bytes, in the order of the last dimension; None when `stored_step` says where they are.
        stored_step: the earlier snapshot of the same attempt and rank that holds these bytes itself.
        crc32: of all bytes.
        aliases: further names of the very same tensor, such as of a weight that two layers share.
        chunk_crc32s: of each 16 MB of `data`, when they are known already: they are not computed again then.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview | None
    stored_step: int | None
    crc32: int
    aliases: tuple[str, ...] = ()
    chunk_crc32s: tuple[int, ...] | None = None


@dataclass(frozen=True)
class _Row:
    tensor: SnapshotTensor
    chunk: int
    data: memoryview | None
    crc32: int | None = None


def snapshot_path(run_dir: Path, step: int, attempt: int, rank: int) -> Path:
    """Where a process puts its snapshot of a step. Raises UsageError for a step that has no name."""
    if not 0 <= step <= MAX_STEP:
        raise UsageError(f"a snapshot's step is a number from 0 to {MAX_STEP:,}; found {step}")
    return run_dir / PARAMS / f"{step:012d}" / f"{attempt:04d}-{rank:05d}.parquet"


def write_snapshot(
    path: Path,
    step: int,
    tensors: Iterable[SnapshotTensor],
    *,
    attempt: int,
    rank: int,
    disk: Disk,
    reference: Mapping[str, Any] | None = None,
    dropped: bool = False,
    more: Mapping[str, Any] | None = None,
    sync: bool = True,
) -> None:
    """Write a snapshot whole: into a temporary file beside it, tensor by tensor, then a rename.

    The bytes of tensors are written from where they lie; nothing of the model is copied.

    Args:
        path: `snapshot_path`; its folder is made.
        step: the step.
        tensors: asked for one at a time.
        attempt: of the process.
        rank: of the process.
        disk: where.
        reference: path, size, mtime_ns and header_sha256 of the user's own safetensors file that holds the parameters.
        dropped: the snapshot was deleted, and these are bytes that others refer to.
        more: further members of the metadata; what JSON holds, under names that are not used.
        sync: whether to force the file to the device before it counts.

    Raises:
        OSError: nothing is left of the attempt.
        UsageError: two tensors of one name; one without bytes and without a step that has them; a dtype that we do not
            know, or bytes that are too many or too few for the shape.
    """
    disk.make_dir(path.parent)
    temporary = temporary_beside(path)
    meta: dict[str, Any] = {"format": FORMAT_VERSION, "table": PARAMS, "attempt": attempt, "rank": rank, "step": step}
    meta |= dict(more or {})
    meta |= {"reference": dict(reference)} if reference is not None else {}
    meta |= {"dropped": True} if dropped else {}
    fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        try:
            _Out(fd, step, disk, sync).write_all(tensors, meta)
            if sync:
                disk.sync(fd)
        finally:
            os.close(fd)
        disk.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        disk.sync_dir(path.parent)


class _Out:
    """A snapshot as it is written."""

    def __init__(self, fd: int, step: int, disk: Disk, sync: bool) -> None:
        self._fd, self._step, self._disk, self._sync = fd, step, disk, sync
        self._at = 0
        self._index: dict[str, dict[str, Any]] = {}
        self._groups: list[tuple[int, list[ColumnChunk]]] = []
        self._checksums: list[Chunk] = []

    def write_all(self, tensors: Iterable[SnapshotTensor], meta: dict[str, Any]) -> None:
        self._put([b"PAR1"])
        rows: list[_Row] = []
        num_bytes = 0
        for tensor in tensors:
            large = tensor.data is not None and len(tensor.data) > GROUP_BYTES
            if rows and (large or num_bytes > GROUP_BYTES):
                self._write_group(rows)
                rows, num_bytes = [], 0
            tensor = replace(tensor, name=as_text(tensor.name), aliases=tuple(map(as_text, tensor.aliases)))
            self._enter(tensor)
            for row in _rows(tensor):
                rows.append(row)
                num_bytes += 0 if row.data is None else len(row.data)
                if large:
                    self._write_group(rows)
                    rows, num_bytes = [], 0
        if rows:
            self._write_group(rows)
        text = encode_index({**meta, "index": self._index})
        described = {META_KEY.decode(): text.decode(), "ARROW:schema": arrow_schema_text(SCHEMA)}
        footer = encode_footer(SCHEMA, encode_schema(SCHEMA), self._groups, NO_COMPRESSION, described)
        self._put([encode_end(text, self._checksums, footer[:-AFTER_FOOTER_BYTES]), footer])

    def _enter(self, tensor: SnapshotTensor) -> None:
        if tensor.name in self._index:
            raise UsageError(f"a snapshot has two tensors of the name {tensor.name!r}")
        if (tensor.data is None) == (tensor.stored_step is None):
            raise UsageError(f"tensor {tensor.name!r} needs either its bytes or the step of the snapshot that has them")
        if tensor.dtype not in ITEM_BYTES:
            raise UsageError(f"tensor {tensor.name!r} has dtype {tensor.dtype}; snapshots hold {', '.join(ITEM_BYTES)}")
        expected = math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]
        if tensor.data is not None and len(tensor.data) != expected:
            raise UsageError(f"tensor {tensor.name!r} has {expected:,} bytes; {len(tensor.data):,} were given")
        entry = {"role": tensor.role, "dtype": tensor.dtype, "shape": list(tensor.shape), "crc32": tensor.crc32}
        if tensor.stored_step is not None:
            entry["stored_step"] = tensor.stored_step
        entry |= {"bytes": len(tensor.data or b""), "groups": [], "places": []}
        self._index[tensor.name] = entry
        for alias in tensor.aliases:
            if alias in self._index:
                raise UsageError(f"a snapshot has two tensors of the name {alias!r}")
            self._index[alias] = entry | {"tied_to": tensor.name}  # of the same groups and places, known later

    def _write_group(self, rows: list[_Row]) -> None:
        tensors = [row.tensor for row in rows]
        pages = [
            numbers_page([self._step] * len(rows), "q"),
            texts_page([tensor.name for tensor in tensors]),
            texts_page([tensor.role for tensor in tensors]),
            numbers_page([row.chunk for row in rows], "i"),
            texts_page([tensor.dtype for tensor in tensors]),
            lists_page([tensor.shape for tensor in tensors]),
            optional_numbers_page([tensor.stored_step for tensor in tensors]),
            optional_bytes_page([row.data for row in rows]),
        ]
        chunks = []
        known = {id(row.data): row.crc32 for row in rows if row.crc32 is not None}
        for page in pages:
            chunks.append(ColumnChunk(self._at, page.size, page.num_values, page.size))
            self._write_page(page, known)
        at = self._at - sum(_LENGTH_BYTES + len(row.data) for row in rows if row.data is not None)
        for row in rows:
            entry = self._index[row.tensor.name]
            entry["groups"].append(len(self._groups))
            if row.data is not None:
                entry["places"].append([at + _LENGTH_BYTES, len(row.data)])
                at += _LENGTH_BYTES + len(row.data)
        self._groups.append((len(rows), chunks))

    def _write_page(self, page: Page, known: Mapping[int, int]) -> None:
        """`known` holds checksums of parts by their id. Joining them pays off for large ones."""
        start, crc = self._at, 0
        for part in page.parts:
            if len(part) >= GROUP_BYTES and id(part) in known:
                crc = join_crc32(crc, known[id(part)], len(part))
            else:
                crc = zlib.crc32(part, crc)
        self._put(page.parts)
        self._checksums.append((start, page.size, crc))

    def _put(self, parts: Iterable[bytes | memoryview]) -> None:
        small = bytearray()
        for part in parts:
            if len(part) < GROUP_BYTES:
                small += part
                continue
            self._disk.append(self._fd, memoryview(small))
            self._disk.append(self._fd, memoryview(part))
            if self._sync:  # then the device works while the next part is read and checked
                self._disk.begin_writing(self._fd, self._at, len(small) + len(part))
            self._at += len(small) + len(part)
            small = bytearray()
        self._disk.append(self._fd, memoryview(small))
        self._at += len(small)


def _rows(tensor: SnapshotTensor) -> Iterator[_Row]:
    if tensor.data is None:
        yield _Row(tensor, 0, None)
        return
    for chunk, start in enumerate(range(0, max(1, len(tensor.data)), CHUNK_BYTES)):
        crc32 = tensor.chunk_crc32s[chunk] if tensor.chunk_crc32s is not None else None
        yield _Row(tensor, chunk, tensor.data[start : start + CHUNK_BYTES], crc32)


def drop_snapshot(
    run_dir: Path, step: int, attempt: int, rank: int, *, disk: Disk, needed: Collection[str] | None = None
) -> None:
    """Delete a snapshot, but for the bytes that kept snapshots of the same attempt and rank refer to.

    Those stay in the file, which then says that it was dropped and is not listed any more. Called again when nobody
    refers to them, the file goes. One that is gone already is fine.

    Args:
        run_dir: of the run.
        step: of the snapshot.
        attempt: of the process.
        rank: of the process.
        disk: where.
        needed: the tensors that others refer to, when that is known; otherwise all other snapshots are looked at.

    Raises:
        OSError: nothing was changed.
        FileError: it, or another snapshot, cannot be read; nothing was changed, for bytes might be missed.
    """
    path = snapshot_path(run_dir, step, attempt, rank)
    if needed is None:
        needed = _needed(run_dir, step, attempt, rank)
    if not needed:
        disk.remove(path)
        with suppress(OSError):  # the folder goes with the last rank's file
            path.parent.rmdir()
        return
    try:
        file = open_snapshot_file(path)
    except FileNotFoundError:
        return
    with file:
        first = {name: entry for name, entry in file.entries.items() if entry.tied_to is None and name in needed}
        aliases: dict[str, list[str]] = {}
        for name, entry in file.entries.items():
            if entry.tied_to is not None:
                aliases.setdefault(entry.tied_to, []).append(name)
        if file.is_dropped and first.keys() == {name for name in file.entries if file.entries[name].tied_to is None}:
            return
        kept = (
            SnapshotTensor(
                name, entry.role, entry.dtype, entry.shape, memoryview(file.read_bytes(name)), None, entry.crc32,
                tuple(aliases.get(name, ())),
            )
            for name, entry in first.items()
        )  # fmt: skip
        write_snapshot(path, step, kept, attempt=attempt, rank=rank, disk=disk, dropped=True)


def _needed(run_dir: Path, step: int, attempt: int, rank: int) -> set[str]:
    """The tensors whose bytes other snapshots of a process find in this one."""
    needed: set[str] = set()
    for other in list_snapshot_files(run_dir):
        if (other.attempt, other.rank) == (attempt, rank) and other.step != step:
            with open_snapshot_file(other.path) as file:
                needed |= {entry.tied_to or name for name, entry in file.entries.items() if entry.stored_step == step}
    return needed
