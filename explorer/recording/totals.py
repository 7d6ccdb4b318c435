"""Running totals of every metric, for the summary: count, last, min, max, NaN and Inf, with the steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.storage import columns
from explorer.storage.disk import Disk
from explorer.storage.journal_scan import ShapeRows
from explorer.storage.records import encode, encode_number

Number = float | int


@dataclass(slots=True)
class Total:
    """Totals of one metric; min and max over finite values."""

    n: int = 0
    last: Number | None = None
    last_step: int | None = None
    min: Number | None = None
    min_step: int | None = None
    max: Number | None = None
    max_step: int | None = None
    num_nan: int = 0
    num_inf: int = 0

    def encode(self) -> list[Number | str | None]:
        """The list that the summary holds, in the order of the fields."""
        extremes = [encode_number(self.min), self.min_step, encode_number(self.max), self.max_step]
        return [self.n, encode_number(self.last), self.last_step, *extremes, self.num_nan, self.num_inf]


class Totals:
    """Totals of all metrics of one process.

    Attributes:
        metrics: name to totals, in the order of first appearance.
        rows: rows seen.
        scalars: values seen.
        last_step: the step of the newest row, or None.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, Total] = {}
        self._texts: dict[str, bytes] = {}
        self._changed: dict[str, Total] = {}
        self._newest_ns = -1
        self.rows = 0
        self.scalars = 0
        self.last_step: int | None = None

    def add(self, found: Iterable[ShapeRows]) -> None:
        """Count rows, each of which is passed once."""
        for rows in sorted(found, key=lambda each: int(each.order[0])):
            self.rows += len(rows.order)
            self.scalars += len(rows.order) * len(rows.shape.names)
            for index, name in enumerate(rows.shape.names):
                _add(self._total(name), rows.steps, rows.column(index))
            # By time, not by place: rows that waited for a device, or for a look into the model, come later.
            if int(rows.monotonic_ns[-1]) >= self._newest_ns:
                self._newest_ns = int(rows.monotonic_ns[-1])
                self.last_step = int(rows.steps[-1])

    def add_table(self, table: pa.Table) -> None:
        """Count the rows of a segment."""
        steps = columns.numbers(table.column(0))
        wall_us = columns.numbers(table.column(1))
        self.rows += len(steps)
        if len(steps):
            newest = len(steps) - 1 - int(wall_us[::-1].argmax())
            if int(wall_us[newest]) * 1000 >= self._newest_ns:
                self._newest_ns = int(wall_us[newest]) * 1000
                self.last_step = int(steps[newest])
        for name, column in zip(table.column_names[2:], table.columns[2:], strict=True):
            there = columns.validity(column)
            self.scalars += int(there.sum())
            if there.any():
                _add(self._total(name), steps[there], columns.numbers(column)[there])

    def _total(self, name: str) -> Total:
        total = self.metrics.get(name)
        if total is None:
            total = self.metrics[name] = Total()
        self._changed[name] = total
        return total

    def json(self) -> bytes:
        """The `metrics` of a summary. Only those that have changed are made anew, one by one.

        With a hundred thousand metrics the whole in one call would hold the interpreter for 0.2 s.
        """
        for name, total in self._changed.items():
            self._texts[name] = encode(name) + b":" + encode(total.encode())
        self._changed.clear()
        return b"{" + b",".join(self._texts.values()) + b"}"


def write_summary(path: Path, summary: dict[str, Any], totals: Totals, *, disk: Disk, sync: bool) -> None:
    """Replace a summary: its members, then `metrics`, which listing runs does not parse. Raises OSError."""
    members = encode({key: value for key, value in summary.items() if key != "metrics"})
    disk.write_file(path, members[:-1] + b',"metrics":' + totals.json() + b"}", sync=sync)


def _add(total: Total, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> None:
    total.n += len(values)
    total.last, total.last_step = values[-1].item(), int(steps[-1])
    finite = np.isfinite(values)
    if not finite.all():
        num_nan = int(np.isnan(values).sum())
        total.num_nan += num_nan
        total.num_inf += int((~finite).sum()) - num_nan
        steps, values = steps[finite], values[finite]
        if not len(values):
            return
    low, high = int(values.argmin()), int(values.argmax())
    if total.min is None or values[low] < total.min:
        total.min, total.min_step = values[low].item(), int(steps[low])
    if total.max is None or values[high] > total.max:
        total.max, total.max_step = values[high].item(), int(steps[high])
