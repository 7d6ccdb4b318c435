"""Which wall time a moment of the monotonic clock was."""

from __future__ import annotations

import time
from bisect import bisect_right

MIN_SLEEP_NS = 10**9
_AT_ONCE_NS = 10**7
# Clocks that go on while the machine is suspended: of Linux, and of macOS, whose time.monotonic() is another one. On
# Windows that one goes on by itself.
_WITH_SLEEP: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def wall_minus_monotonic_ns() -> int:
    """The offset between the two clocks now."""
    return time.time_ns() - time.monotonic_ns()


def slept_ns() -> int | None:
    """How long the machine was suspended since it was started; None when this thread was held up meanwhile."""
    if _WITH_SLEEP is None:
        return 0
    before = time.monotonic_ns()
    with_sleep = time.clock_gettime_ns(_WITH_SLEEP)
    return with_sleep - before if time.monotonic_ns() - before < _AT_ONCE_NS else None


class WallClock:
    """Wall times of one attempt, which never go back: the offset is taken once, and only grows.

    The monotonic clock stands still while the machine is suspended. The writer thread looks for that, and adds the
    length of the sleep to what comes after it. Nothing else moves the offset, such as somebody who sets the clock.

    Attributes:
        offset_ns: wall minus monotonic clock, as it is now.
    """

    def __init__(self) -> None:
        self.offset_ns = wall_minus_monotonic_ns()
        self._slept_ns = slept_ns()
        self._begins: list[int] = []
        self._offsets = [self.offset_ns]

    def look(self) -> None:
        """Find out whether the machine has slept."""
        slept = slept_ns()
        if slept is None:
            return
        if self._slept_ns is None:
            self._slept_ns = slept
        if slept - self._slept_ns >= MIN_SLEEP_NS:
            self.offset_ns += slept - self._slept_ns
            self._slept_ns = slept
            self._offsets.append(self.offset_ns)
            self._begins.append(time.monotonic_ns())

    def offset_at(self, monotonic_ns: int) -> int:
        """What the offset was at a moment, also an earlier one."""
        return self._offsets[bisect_right(self._begins, monotonic_ns)]
