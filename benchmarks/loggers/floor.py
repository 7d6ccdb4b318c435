"""The floor: no library at all. Rows are kept in a list and end in one Parquet file; or the call does nothing."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loggers import Logger


class ListFloor(Logger):
    """A list of (step, time, dict). Nothing is on disk before the end."""

    def load(self) -> str:
        """Import pyarrow, without the pandas that `pa.array` would pull in."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa, self._pq = pa, pq
        return f"pyarrow {pa.__version__}"

    def open(self, folder: Path, names: list[str]) -> None:
        """Keep the names."""
        self._path, self._names = folder / "run.parquet", names
        self._rows: list[tuple[int, float, dict[str, float]]] = []

        def log(values: dict[str, float], step: int, append: Any = self._rows.append, now: Any = time.time) -> None:
            append((step, now(), values))

        self.log = log

    def close(self) -> None:
        """Write the file."""
        if not self._rows:
            return
        steps, times, dicts = zip(*self._rows, strict=True)
        values = np.array([list(row.values()) for row in dicts])
        columns = [np.array(steps, np.int64), (np.array(times) * 1e6).astype(np.int64), *values.T]
        write_parquet(self._path, ["step", "wall_time", *self._names], columns)

    def read(self, folder: Path, metric: str) -> tuple[Any, Any]:
        """Read two columns."""
        if not (folder / "run.parquet").exists():
            return np.empty(0, np.int64), np.empty(0)
        table = self._pq.ParquetFile(folder / "run.parquet").read(columns=["step", metric])
        return table["step"].to_numpy(), table[metric].to_numpy()


class MappedFloor(Logger):
    """The least that survives a kill: each row packed into a file mapping; no look at names, types or space."""

    def load(self) -> str:
        """Nothing to import."""
        return "-"

    def open(self, folder: Path, names: list[str]) -> None:
        """Map a file whose pages are there."""
        size, row = 8 * 2**20, struct.Struct(f"@qq{len(names)}d")
        with open(folder / "rows.bin", "wb+") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            self._memory = mmap.mmap(file.fileno(), size)
        for page in range(0, size, mmap.PAGESIZE):
            self._memory[page] = 0
        num_places = size // row.size

        def log(values: dict[str, float], step: int, now: Any = time.monotonic_ns) -> None:
            row.pack_into(self._memory, step % num_places * row.size, step, now(), *values.values())

        self.log = log

    def close(self) -> None:
        """The kernel has the rows."""
        self._memory.close()

    def read(self, folder: Path, metric: str) -> None:
        """Later rows stand in the place of earlier ones."""


class EmptyCall(Logger):
    """Nothing happens: what the measuring itself costs."""

    def load(self) -> str:
        """Nothing to import."""
        return "-"

    def open(self, folder: Path, names: list[str]) -> None:
        """Nothing to open."""
        self.log = lambda values, step: None

    def close(self) -> None:
        """Nothing to close."""

    def read(self, folder: Path, metric: str) -> None:
        """There is nothing."""


def write_parquet(path: Path, names: list[str], columns: list[np.ndarray], *, row_group_rows: int = 2**17) -> None:
    """One ideal file: a column a metric, zstd 1, integers delta encoded, floats byte-stream split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.int64() if column.dtype == np.int64 else pa.float64() for column in columns]
    arrays = [
        pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(np.ascontiguousarray(column))])
        for kind, column in zip(types, columns, strict=True)
    ]
    encodings = {
        name: "DELTA_BINARY_PACKED" if kind == pa.int64() else "BYTE_STREAM_SPLIT"
        for name, kind in zip(names, types, strict=True)
    }
    table = pa.Table.from_arrays(arrays, names=names)
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding=encodings,
        row_group_size=row_group_rows,
    )


def make(name: str) -> Logger:
    """See `LOGGERS`."""
    return {"nothing": EmptyCall, "floor": ListFloor, "mapped": MappedFloor}[name](name)
