"""The points of one metric: what a chart and an analysis need of rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.storage.columns import numbers, validity

Ints = npt.NDArray[np.int64]
_INT64_END = 2**63


class EvenSteps(NamedTuple):
    """The steps `first, first + stride, ...` of `num` points; the stride is above 0."""

    first: int
    stride: int
    num: int

    def array(self) -> Ints:
        """int64[num]."""
        return np.arange(self.first, self.first + self.stride * self.num, self.stride, dtype=np.int64)


def even_steps(step: Ints) -> EvenSteps | None:
    """What these steps, int64[n], are if they are evenly spaced and ascend; None if not, and for no steps."""
    if not len(step):
        return None
    first, num = int(step[0]), len(step)
    stride = int(step[1]) - first if num > 1 else 1
    if stride <= 0 or first + stride * num >= _INT64_END or int(step[-1]) != first + stride * (num - 1):
        return None
    return EvenSteps(first, stride, num) if bool((step[1:] - step[:-1] == stride).all()) else None


@dataclass(frozen=True)
class Points:
    """The points of one metric in one file, in the order they were logged; rows without the metric are left out.

    Attributes:
        steps: int64[n], or what they are if that is known without having them.
        value: float64[n] or int64[n].
        wall_us: int64[n], microseconds since 1970 (UTC); empty when it was not read.
    """

    steps: Ints | EvenSteps
    value: npt.NDArray[Any]
    wall_us: Ints

    def __len__(self) -> int:
        return len(self.value)

    @property
    def first_step(self) -> int:
        """Step of the point that was logged first; there must be one."""
        return self.steps.first if isinstance(self.steps, EvenSteps) else int(self.steps[0])

    @cached_property
    def step(self) -> Ints:
        """int64[n]."""
        return self.steps.array() if isinstance(self.steps, EvenSteps) else self.steps


def points_of(table: pa.Table, metric: str, *, wall_time: bool = True) -> Points | None:
    """The points of one metric of a table, or None when it has no such column. Views where nothing is left out.

    Args:
        table: the columns `step`, `wall_time` if it has one, and metrics.
        metric: the metric's name.
        wall_time: whether the table has the column `wall_time`.
    """
    num_fixed = 2 if wall_time else 1
    if metric not in table.column_names[num_fixed:]:
        return None
    column = table.column(table.column_names.index(metric, num_fixed))
    step, value = numbers(table.column(0)), numbers(column)
    wall_us = numbers(table.column(1)) if wall_time else step[:0]
    if not column.null_count:
        return Points(step, value, wall_us)
    valid = validity(column)
    return Points(step[valid], value[valid], wall_us[valid] if wall_time else wall_us)
