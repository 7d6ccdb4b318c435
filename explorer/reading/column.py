"""One metric as far as it has been read: it takes what is new in the files, and hands out series that never change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from explorer.errors import FileError
from explorer.reading.blocks import Blocks, Floats, Ints
from explorer.reading.buffers import Buffer, Ramps, Steps
from explorer.reading.pieces import (
    Piece,
    TableFiles,
    as_floats,
    is_increasing,
    missing_parts,
    newest_wins,
    open_piece,
)
from explorer.reading.series import Series
from explorer.storage.points import EvenSteps, Points, points_of
from explorer.storage.segments import MakeRoom

_UNKNOWN_TIME: Final = np.iinfo(np.int64).min


@dataclass
class _Taken:
    """What a column has taken of one piece."""

    piece: Piece
    start: int  # of its points among those of the column
    num_tables: int
    num_points: int
    problem: str | None = None


class Column:
    """The points of one metric so far. Guarded by its table's lock."""

    def __init__(self, metric: str, files: TableFiles, ramps: Ramps, buffers: Callable[[], Iterator[Buffer]]) -> None:
        self._metric, self._files = metric, files
        self._ramps, self._find_buffers = ramps, buffers
        self._with_wall = False
        self._generation = 0
        self._reset()

    def _reset(self) -> None:
        self._taken: list[_Taken] = []
        self.step = Steps(self._ramps, self._find_buffers)
        self._value = Buffer(np.float64)
        self._wall = Buffer(np.int64) if self._with_wall else None
        self._num_replaced = 0
        self._attempt: int | None = None  # of the newest points
        self._blocks: Blocks | None = None
        self._shown: Series | None = None
        self._generation += 1

    @property
    def num_bytes(self) -> int:
        """About what this column keeps in memory."""
        return (8 if self.step.buffer is None else 16) * len(self._value.values) + 200

    def series(self, pieces: list[Piece], gaps: list[str]) -> Series:
        """The series as it is now, given the pieces of its rank in order. Raises FileNotFoundError: look again."""
        self._update(pieces)
        problems = (*gaps, *(taken.problem for taken in self._taken if taken.problem))
        num = self._value.num
        shown = self._shown
        if shown is None or len(shown) != num or shown.problems != problems or shown._generation != self._generation:
            shown = self._shown = Series(
                self.step.view(), self._value.view(num), problems, self._num_replaced, self, self._generation
            )
        return shown

    def wall_of(self, series: Series) -> Ints:
        """Times of a series that was handed out; int64[n]."""
        with self._files.lock:
            if self._wall is None:
                self._read_wall()
            wall = self._wall.view(self._wall.num) if self._wall is not None else np.empty(0, np.int64)
            if series._generation == self._generation:
                return wall[: len(series)]
            step = self.step.view()
            at = np.minimum(np.searchsorted(step, series.step), max(len(step) - 1, 0))
            known = step[at] == series.step if len(step) else np.zeros(len(series), bool)
            found = np.full(len(series), _UNKNOWN_TIME)
            found[known] = wall[at[known]]
            return found

    def _read_wall(self) -> None:
        """Read everything once more, with times this time."""
        self._with_wall = True
        pieces = [taken.piece for taken in self._taken]
        step, generation, blocks, shown = self.step.view(), self._generation, self._blocks, self._shown
        self._reset()
        try:
            self._update(pieces)
        except FileNotFoundError:  # sealed or moved away meanwhile; the next look finds what is there
            self._reset()
        if np.array_equal(self.step.view(), step):
            self._generation, self._blocks, self._shown = generation, blocks, shown

    def blocks_of(self, series: Series) -> Blocks:
        """Blocks of a series that was handed out."""
        with self._files.lock:
            if series._generation != self._generation:
                return Blocks.of(series.value)
            if self._blocks is None or len(self._blocks) <= len(series):
                self._blocks = Blocks.of(series.value, self._blocks)
            return self._blocks

    def _update(self, pieces: list[Piece]) -> None:
        same = 0
        for taken, piece in zip(self._taken, pieces, strict=False):
            if not _is_same(taken, piece):
                break
            same += 1
        if same < len(self._taken):
            last = same == len(self._taken) - 1 and same < len(pieces)
            if not (last and self._go_on(self._taken[same], pieces[same])):
                self._reset()
            same = len(self._taken)
        parts: dict[tuple[int, int], set[int]] = {}
        for piece in pieces[same:]:
            parts.setdefault(piece.key[:2], set()).add(piece.key[2])
        self._num_pieces = len(pieces)
        for at in range(same, len(pieces)):
            piece = pieces[at]
            points, problem = self._read(piece, parts[piece.key[:2]], room=self._room)
            if at == 0 and points:  # the other pieces will be about as long
                self._reserve(len(points[0]) * len(pieces))
            self._begin(piece, points)
            start = self._value.num
            num_points = sum(self._append(each) for each in points)
            self._taken.append(_Taken(piece, start, len(piece.tables), num_points, problem))

    def _room(self, num: int) -> Floats:
        """Where the values of the next segment go."""
        if not self._value.num:
            self._reserve(num * self._num_pieces)
        return self._value.room(num)

    def _reserve(self, num: int) -> None:
        for buffer in (self._value, self._wall):
            if buffer is not None:
                buffer.reserve(num)
        self.step.reserve(num)

    def _go_on(self, taken: _Taken, piece: Piece) -> bool:
        """Add what is new in the last piece; False when what was taken is not the beginning of what there is now."""
        if taken.piece.key != piece.key or not taken.piece.is_journal:
            return False
        if piece.is_journal:
            if not _starts_alike(taken.piece, piece):
                return False
            new = [found for table in piece.tables[taken.num_tables :] if (found := points_of(table, self._metric))]
            problem = piece.problem
        else:
            points, problem = self._read(piece, {piece.key[2]})
            rest = self._after_taken(taken, points)
            if rest is None:
                return False
            new = [rest]
        if not taken.num_points:
            self._begin(piece, new)
            taken.start = self._value.num
        taken.num_points += sum(self._append(points) for points in new)
        taken.piece, taken.num_tables, taken.problem = piece, len(piece.tables), problem
        return True

    def _after_taken(self, taken: _Taken, points: list[Points]) -> Points | None:
        """Of a journal that has become a segment, the points that were not taken yet; None when others come first."""
        start, num = taken.start, taken.num_points
        if len(points) != 1 or self._value.num != start + num or len(points[0].step) < num:
            return None
        found = points[0]
        same_steps = np.array_equal(self.step.view()[start:], found.step[:num])
        values = self._value.view(start + num)[start:]
        if not same_steps or not np.array_equal(values.view(np.int64), as_floats(found.value)[:num].view(np.int64)):
            return None
        return Points(found.step[num:], found.value[num:], found.wall_us[num:])

    def _read(self, piece: Piece, parts: set[int], room: MakeRoom = np.empty) -> tuple[list[Points], str | None]:
        if piece.is_journal:
            found = [points for table in piece.tables if (points := points_of(table, self._metric))]
            return found, piece.problem
        try:
            with open_piece(piece, self._files.table) as segment:
                missing = missing_parts(segment, piece.file.name, parts)
                problem = f"{piece.file.path.name}: part {missing[0]} of it is missing" if missing else None
                points = segment.read_points(self._metric, wall_time=self._with_wall, room=room)
                return [points] if points else [], problem
        except FileError as error:
            return [], f"{piece.file.path.name}: {error.reason}"

    def _begin(self, piece: Piece, points: list[Points]) -> None:
        """Take back what a newer attempt goes on from: all from its first step on was given up with the older one."""
        attempt = piece.file.name.attempt
        first = next((each.first_step for each in points if len(each)), None)
        if attempt == self._attempt or first is None:
            return
        self._attempt = attempt
        if not self.step.num or self.step.last < first:
            return
        step = self.step.view()
        kept = int(np.searchsorted(step, first))
        self._num_replaced += len(step) - kept
        self._keep(kept)

    def _append(self, points: Points) -> int:
        num = len(points)
        if not num:
            return 0
        steps, value, wall = points.steps, as_floats(points.value), points.wall_us
        ascend = isinstance(steps, EvenSteps) or is_increasing(steps)
        if not ascend or (self.step.num and points.first_step <= self.step.last):
            steps, value, wall = self._merge(points.step, value, wall)
        self.step.append(steps)
        self._value.append(value)
        if self._wall is not None:
            self._wall.append(wall)
        return num

    def _merge(self, step: Ints, value: Floats, wall: Ints) -> tuple[Ints, Floats, Ints]:
        """Take back what the new points may replace or precede, and return it merged with them."""
        before = self.step.view()
        kept = int(np.searchsorted(before, step.min()))
        values = self._value.view(self._value.num)
        walls = self._wall.view(self._wall.num) if self._wall is not None else wall[:0]
        step = np.concatenate([before[kept:], step])
        value = np.concatenate([values[kept:], value])
        wall = np.concatenate([walls[kept:], wall])
        rows = newest_wins(step)
        if kept < len(before):
            self._keep(kept)
        if rows is None:
            return step, value, wall
        self._num_replaced += len(step) - len(rows)
        return step[rows], value[rows], wall[rows] if self._wall is not None else wall

    def _keep(self, kept: int) -> None:
        """Start again with the first points. Series that were handed out look at the buffers: those are left alone."""
        step, value = self.step.view()[:kept], self._value.view(kept)
        wall = self._wall.view(kept) if self._wall is not None else None
        taken, replaced, attempt = self._taken, self._num_replaced, self._attempt
        self._reset()
        self._taken, self._num_replaced, self._attempt = taken, replaced, attempt
        self.step.append(step)
        self._value.append(value)
        if self._wall is not None and wall is not None:
            self._wall.append(wall)


def _is_same(taken: _Taken, piece: Piece) -> bool:
    before = taken.piece
    if before.key != piece.key or before.is_journal != piece.is_journal:
        return False
    if piece.is_journal:
        return len(piece.tables) == taken.num_tables and piece.problem == taken.problem and _starts_alike(before, piece)
    return before.file.identity == piece.file.identity


def _starts_alike(before: Piece, piece: Piece) -> bool:
    old, new = before.tables, piece.tables
    return len(old) <= len(new) and all(one is other for one, other in zip(old, new, strict=False))
