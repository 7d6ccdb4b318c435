"""What a step did to a parameter: its value before, kept whole or in part, beside its value after."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from explorer.recording.watching.bench import Bench
from explorer.recording.watching.drafts import RowDraft
from explorer.recording.watching.naming import ParameterPlace
from explorer.recording.watching.samples import SAMPLE_VALUES, view_sample

WHOLE_VALUES = 65_536


@dataclass(frozen=True)
class Before:
    """The value of a parameter before a step.

    Attributes:
        values: flat.
        n: how many there are in all; more than `values` where a sample stands for them.
    """

    values: Tensor
    n: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of them."""
        return len(self.values) == self.n


class Changes:
    """Keeps values from before the step until after it.

    Whole copies are kept of up to 65,536 values, which are as quickly copied as a sample is gathered, and with the kind
    `update` of more, up to `max_bytes` in all. A sample stands for all others, see `samples`.
    """

    def __init__(self, *, whole: bool, max_bytes: int, skip: Callable[[str, str, str], None]) -> None:
        self._whole, self._max_bytes, self._skip = whole, max_bytes, skip
        self._kept: dict[str, Before] = {}

    def keep(self, parameters: Iterable[tuple[ParameterPlace, Tensor, Bench]]) -> None:
        """Remember these values, given flat and with the bench that works on them."""
        self._kept = {}
        room = self._max_bytes if self._whole else 0
        for place, values, bench in parameters:
            size = values.numel() * values.element_size()
            if values.numel() <= WHOLE_VALUES or size <= room:
                room -= size
                kept = bench.copy(values, place.name)
            else:
                kept = bench.copy(view_sample(values, SAMPLE_VALUES), place.name)
                if self._whole:
                    reason = (
                        f"copies of the parameters would take more than max_copy_bytes={self._max_bytes:,}: "
                        f"its update ratio is estimated from {SAMPLE_VALUES:,} of its values"
                    )
                    self._skip(place.name, "update", reason)
            self._kept[place.name] = Before(kept, values.numel())

    def compare(
        self, place: ParameterPlace, values: Tensor, sample: Tensor, bench: Bench, row: RowDraft | None
    ) -> RowDraft | None:
        """Put the size of the change on the parameter's row; the row of the change itself where all of it is known.

        `sample` is of `values`, and all of them where they are few.
        """
        before = self._kept.pop(place.name, None)
        if before is None or before.n != values.numel() or before.values.dtype != values.dtype:
            return None  # resized or converted within the step
        update = None
        if self._whole and before.is_whole:
            changed = bench.measure_difference(values, before.values)
            update = RowDraft(place.name, "update", [changed])
            if row is not None:
                kept = bench.squares([before.values])
                row.more.append(lambda: _fields(changed().all_squares, kept(), 1.0))
        elif row is not None:
            found = bench.change(values if before.is_whole else sample, before.values)
            row.more.append(lambda: _fields(*found(), before.n / max(1, len(before.values))))
        return update


def _fields(changed: float, kept: float, scale: float) -> dict[str, float | None]:
    """From sums of squares of a sample that stands for `scale` times as many values.

    The ratio is None where the parameter was 0, and NaN where a value is no number: what a step made NaN is seen.
    """
    ratio = math.sqrt(changed / kept) if kept else None
    if math.isnan(changed):
        ratio = math.nan
    return {"update_norm": math.sqrt(changed * scale), "update_ratio": ratio}
