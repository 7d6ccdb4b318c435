"""When a snapshot is taken, and which ones go again: pure decisions about steps, values and bytes."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from explorer.errors import UsageError

Mode = Literal["max", "min"]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the user asked for. Each wish adds snapshots; `keep_last` and `max_bytes` delete some.

    Attributes:
        every: at each multiple of so many steps.
        log_spaced: at 1, 2, 5, 10, 20, 50, ...: early training, where most happens, at little cost.
        best: (metric, "max" or "min"): whenever the metric, as it was logged, is better than ever before.
        keep_last: delete all but the last so many, the first and the best.
        max_bytes: delete the oldest in between until the snapshots of the run fit. The first, the last and the best
            always stay.

    Raises:
        UsageError: a wish makes no sense, or nothing is wished for.
    """

    every: int | None = None
    log_spaced: bool = False
    best: tuple[str, Mode] | None = None
    keep_last: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("every", "keep_last", "max_bytes"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{name} should be a whole number of at least 1, or None; found {value!r}")
        if not isinstance(self.log_spaced, bool):
            raise UsageError(f"log_spaced should be True or False; found {self.log_spaced!r}")
        if self.best is not None and not _is_best(self.best):
            raise UsageError(f'best should be a metric and "max" or "min", as ("val/loss", "min"); found {self.best!r}')
        if self.every is None and not self.log_spaced and self.best is None:
            raise UsageError('nothing says when: pass every=100, log_spaced=True or best=("val/loss", "min")')

    def is_due(self, previous: int | None, step: int) -> bool:
        """Whether a wished-for step lies after `previous`, the last step asked about, and not after `step`.

        So a loop that asks at every eighth step only still gets its snapshots, each at the next step it asks about.
        """
        if previous is None or previous >= step:  # the first question, or a training that went back
            previous = step - 1
        if self.every is not None and previous // self.every < step // self.every:
            return True
        return self.log_spaced and _last_log_spaced(step) > previous


def _is_best(best: object) -> bool:
    return isinstance(best, tuple) and len(best) == 2 and isinstance(best[0], str) and best[1] in ("max", "min")


def _last_log_spaced(step: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is at most `step`; -1 when there is none."""
    if step < 1:
        return -1
    power = int("1" + "0" * (len(str(step)) - 1))
    return max(multiple * power for multiple in (1, 2, 5) if multiple * power <= step)


class BestSoFar:
    """Notices that a metric is better than ever before.

    Attributes:
        improved: set by `note`; whoever acts on it clears it.
    """

    def __init__(self, mode: Mode) -> None:
        self._sign = 1.0 if mode == "max" else -1.0
        self._best = -math.inf
        self.improved = False

    def note(self, value: float) -> None:
        """The metric was logged with this value. NaN is never better."""
        if self._sign * value > self._best:
            self._best = self._sign * value
            self.improved = True


@dataclass(frozen=True)
class Kept:
    """One snapshot on disk: its step and the bytes of its file."""

    step: int
    num_bytes: int


def next_to_drop(kept: Sequence[Kept], staying: Collection[int], policy: Policy, other_bytes: int = 0) -> int | None:
    """The step of the snapshot to delete next, or None when all may stay.

    One at a time, since a snapshot that others refer to leaves bytes behind.

    Args:
        kept: the snapshots that this policy took and that are still there, in the order taken.
        staying: steps that nobody may delete: the best ones, and those that the user asked for by number.
        policy: what the user asked for.
        other_bytes: bytes of everything else that counts against `max_bytes`.
    """
    between = [each.step for each in kept[1:-1] if each.step not in staying]
    if not between:
        return None
    if policy.keep_last is not None:
        last = {each.step for each in kept[-policy.keep_last :]}
        surplus = [step for step in between if step not in last]
        if surplus:
            return surplus[0]
    if policy.max_bytes is not None and other_bytes + sum(each.num_bytes for each in kept) > policy.max_bytes:
        return between[0]
    return None
