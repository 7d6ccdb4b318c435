"""The series of scalars, shared by everybody who draws them: read once, and read on as a run grows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from explorer.reading.buffers import Buffer, Ramps
from explorer.reading.column import Column
from explorer.reading.pieces import Piece, TableFiles
from explorer.reading.series import Series

__all__ = ["Series", "SeriesStore"]

DEFAULT_MAX_BYTES: Final = 1 << 30
# Looks at the same run that follow each other faster than this share one.
FRESH_S: Final = 0.2
_NUM_TRIES: Final = 4


class SeriesStore:
    """All series that have been asked for, up to a number of bytes; the least recently used ones are let go.

    Thread-safe. Runs are read independently of each other.
    """

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_BYTES, fresh_s: float = FRESH_S) -> None:
        self._max_bytes, self._fresh_s = max_bytes, fresh_s
        self._lock = threading.Lock()
        self._tables: dict[tuple[str, str], _Table] = {}
        self._used: OrderedDict[tuple[_Table, int, str], int] = OrderedDict()
        self._num_bytes = 0
        self._ramps = Ramps()

    def series(self, run_path: str | Path, metric: str, *, rank: int | None = None, table: str = "scalars") -> Series:
        """A metric as it is now; the same object as before when nothing was added.

        Args:
            run_path: the run's folder.
            metric: the metric's name; one that the run does not have gives an empty series.
            rank: whose values; None is rank 0, or the lowest rank that recorded anything.
            table: `scalars`, or `system` for what the machine did.
        """
        key = (str(run_path), table)
        with self._lock:
            files = self._tables.get(key)
            if files is None:
                files = self._tables[key] = _Table(Path(run_path), table, self._ramps)
        series, shown_rank, num_bytes = files.series(metric, rank, self._fresh_s)
        self._account((files, shown_rank, metric), num_bytes)
        return series

    def ranks(self, run_path: str | Path, *, table: str = "scalars") -> list[int]:
        """The ranks that recorded something, ascending."""
        files = TableFiles(Path(run_path), table)
        files.look()
        return files.ranks()

    def _account(self, key: tuple[_Table, int, str], num_bytes: int) -> None:
        with self._lock:
            self._num_bytes += num_bytes - self._used.pop(key, 0)
            self._used[key] = num_bytes
            while self._num_bytes > self._max_bytes and len(self._used) > 1:
                (files, rank, metric), freed = self._used.popitem(last=False)
                self._num_bytes -= freed
                files.drop(rank, metric)


class _Table:
    """One table of one run: its files, and the columns that have been read."""

    def __init__(self, run_dir: Path, table: str, ramps: Ramps) -> None:
        self._files, self._ramps = TableFiles(run_dir, table), ramps
        self._columns: dict[tuple[int, str], Column] = {}
        self._pieces: dict[int, list[Piece]] = {}

    def series(self, metric: str, rank: int | None, fresh_s: float) -> tuple[Series, int, int]:
        with self._files.lock:
            for attempt in range(_NUM_TRIES):
                if self._files.look(fresh_s):
                    self._pieces.clear()
                shown = rank if rank is not None else next(iter(self._files.ranks()), 0)
                column = self._columns.get((shown, metric))
                if column is None:
                    column = self._columns[shown, metric] = Column(metric, self._files, self._ramps, self._buffers)
                try:
                    if shown not in self._pieces:
                        self._pieces[shown] = self._files.pieces(shown)
                    pieces = self._pieces[shown]
                    return column.series(pieces, self._files.gaps(shown)), shown, column.num_bytes
                except FileNotFoundError:  # sealed or moved between listing and opening
                    self._files.forget_look()
                    if attempt == _NUM_TRIES - 1:
                        raise
        raise AssertionError("unreachable")

    def drop(self, rank: int, metric: str) -> None:
        """Let go of a column; series that were handed out stay valid."""
        self._columns.pop((rank, metric), None)

    def _buffers(self) -> Iterator[Buffer]:
        """The step buffers in use, each once."""
        return iter({id(c.step.buffer): c.step.buffer for c in list(self._columns.values()) if c.step.buffer}.values())
