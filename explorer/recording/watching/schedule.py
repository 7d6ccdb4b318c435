"""When a training is looked into: at which of its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from explorer.errors import UsageError


@dataclass(frozen=True)
class Every:
    """Steps 0, n, 2n, ...

    Raises:
        UsageError: n is not a positive integer.

    Example:
        >>> Every(10).next_after(10)
        20
    """

    n: int

    def __post_init__(self) -> None:
        _check("n", self.n, 1)

    def next_after(self, step: int) -> int:
        """The first step of the schedule beyond this one."""
        return (step // self.n + 1) * self.n

    def __str__(self) -> str:
        return f"every {self.n} steps"


@dataclass(frozen=True)
class EarlyThenEvery:
    """Each of the first steps, where most goes wrong, then steps that are multiples of `every`.

    Raises:
        UsageError: a number is not a positive integer (`early` may be 0).

    Example:
        >>> [EarlyThenEvery(early=20, every=50).next_after(step) for step in (0, 18, 19, 50)]
        [1, 19, 50, 100]
    """

    early: int = 20
    every: int = 50

    def __post_init__(self) -> None:
        _check("early", self.early, 0)
        _check("every", self.every, 1)

    def next_after(self, step: int) -> int:
        """The first step of the schedule beyond this one."""
        return step + 1 if 0 <= step + 1 < self.early else Every(self.every).next_after(step)

    def __str__(self) -> str:
        return f"the first {self.early} steps, then every {self.every}"


@dataclass(frozen=True)
class LogSpaced:
    """Steps 0, 1 and on at equal ratios: so many a decade, for runs whose length is unknown.

    Raises:
        UsageError: `per_decade` is not a positive integer.

    Example:
        >>> [LogSpaced(per_decade=4).next_after(step) for step in (0, 1, 10, 32, 100)]
        [1, 2, 18, 56, 178]
    """

    per_decade: int = 20

    def __post_init__(self) -> None:
        _check("per_decade", self.per_decade, 1)

    def next_after(self, step: int) -> int:
        """The first step of the schedule beyond this one."""
        if step < 1:
            return step + 1
        power = math.floor(math.log10(step) * self.per_decade)
        while (found := round(10 ** (power / self.per_decade))) <= step:
            power += 1
        return found

    def __str__(self) -> str:
        return f"{self.per_decade} steps a decade"


Schedule = Every | EarlyThenEvery | LogSpaced


def parse_schedule(schedule: object) -> Schedule:
    """A schedule as it is given: one of the three, a number n for every n steps, or None for the default.

    Raises:
        UsageError: it is something else.
    """
    if schedule is None:
        return EarlyThenEvery()
    if isinstance(schedule, Every | EarlyThenEvery | LogSpaced):
        return schedule
    if isinstance(schedule, int) and not isinstance(schedule, bool):
        return Every(schedule)
    raise UsageError(
        f"schedule should be EarlyThenEvery(), Every(n), LogSpaced(), a number n for every n steps, or None; "
        f"found {schedule!r}"
    )


def _check(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} should be an integer of at least {least}; found {value!r}")
