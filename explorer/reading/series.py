"""What everybody gets who asks for a metric: arrays that never change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from explorer.reading.blocks import Blocks, Floats, Ints

if TYPE_CHECKING:
    from explorer.reading.column import Column


@dataclass(frozen=True, eq=False)
class Series:
    """One metric of one rank, the newest attempt's value per step. Never changes; a run that grew gives a new one.

    Attributes:
        step: int64[n], strictly increasing; read-only.
        value: float64[n] with NaN and infinities as logged; read-only.
        problems: what is missing from it: damaged files and gaps, by name and reason.
        num_replaced: values that a later one of the same step replaced, or that a resume from an earlier step gave up.
    """

    step: Ints
    value: Floats
    problems: tuple[str, ...]
    num_replaced: int
    _column: Column = field(repr=False)
    _generation: int = field(repr=False)

    def __len__(self) -> int:
        return len(self.step)

    @property
    def wall_us(self) -> Ints:
        """When each value was logged, microseconds since 1970 (UTC); int64[n], read-only. Read on first use."""
        return self._column.wall_of(self)

    @property
    def blocks(self) -> Blocks:
        """The extremes of `value`, for `downsample`. Built on first use, about 2 ns a value, and kept as it grows."""
        return self._column.blocks_of(self)
