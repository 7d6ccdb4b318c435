"""Which step it is, and whether it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from explorer.recording.watching.schedule import Schedule

_FIRST_STEPS: Final = 1_000
_EVERY_STEPS: Final = 1_000
_STEPS_EACH: Final = 100
_NEVER: Final = -(2**63)


class Rounds:
    """Counts steps. With several optimizers one step is one round: it ends when one of them steps again.

    An optimizer that takes no part in a round that is looked at is looked at when it steps next.

    Args:
        num_optimizers: how many take part.
        schedule: which steps are looked at; the first one always is.
        first: number of the first step.
        given: the training's own number of the step, or None to count.
        last_logged: the last step that the training logged, if any: a count that is behind it is raised to it.

    Attributes:
        step: of this round; None before the first.
        is_looked_at: whether the schedule wants this round.
        next: number of the next round, as far as can be told.
        sees_validations: whether forwards are watched after this round even if nothing is looked at, for validations.
        counts: how often each optimizer has begun a step.
        passes: counts a step of a single optimizer that nothing depends on: neither it nor the next is looked at, nor
            does `sees_validations` change with the next. False when it is not known to be such a step; then nothing is
            counted, and `rests` is to be asked. `step` and `counts` follow with the next `begin`.
    """

    # What is read in every step lies together.
    __slots__ = (
        *("next", "_last_logged", "_stop", "_num_passed", "passes", "_asked", "_given"),
        *("step", "is_looked_at", "sees_validations", "counts", "_all", "_schedule", "_first", "_due", "_limit"),
        *("_stepped", "_previous", "_owed"),
    )

    def __init__(
        self,
        num_optimizers: int,
        schedule: Schedule,
        first: int,
        given: Callable[[], int] | None,
        last_logged: Callable[[], int | None],
    ) -> None:
        self.step: int | None = None
        self.is_looked_at = False
        self.counts = [0] * num_optimizers
        self._all = frozenset(range(num_optimizers))
        self._num_passed = 0
        self._schedule, self._given, self._last_logged = schedule, given, last_logged
        self.next = self._first = self._due = first
        self.sees_validations, self._stop, self._limit = True, _NEVER, first
        self._asked: int | None = None  # the number of this round, when it is known already
        self._stepped: set[int] = set()
        self._previous: set[int] = set()
        self._owed: set[int] = set()
        passes = num_optimizers == 1 and given is None
        self.passes: Callable[[], bool] = self._passes_by_count if passes else _never

    def _passes_by_count(self) -> bool:
        """See `passes`. Called in every step, with cold caches: each object that it touches costs, and each branch."""
        step, last = self.next, self._last_logged()
        if last is not None and last > step:
            step = last
        step += 1
        if step < self._stop:
            self.next = step
            self._num_passed += 1
            return True
        self._asked = step - 1
        return False

    def rests(self) -> bool:
        """Count a step that did not pass if nothing depends on it all the same; those that follow pass by themselves.

        The first such step behind one that was looked at is of this kind, and all where the training numbers them.
        """
        if len(self.counts) > 1:
            return False
        if self._asked is None:
            self._asked = self._number()
        if not self.next <= self._asked + 1 < self._limit:
            return False
        self.next, self._asked, self._stop = self._asked + 1, None, self._limit
        self._num_passed += 1
        return True

    def begin(self, index: int = 0) -> bool:
        """An optimizer is about to step. Whether it is looked at this time."""
        if self.step is None or index in self._stepped:
            self._begin_round()
        self._stepped.add(index)
        self.counts[index] += 1 + self._num_passed
        self._num_passed = 0
        if index in self._owed:
            self._owed.discard(index)
            return True
        return False

    def _begin_round(self) -> None:
        step, self._asked = self._number() if self._asked is None else self._asked, None
        if self.step is None or step + 1 < self.next:  # the training has gone back
            self._due = step
        self.step, self.next = step, step + 1
        self._previous, self._stepped = self._stepped, set()
        self.is_looked_at = step >= self._due
        if self.is_looked_at:
            self._due = self._schedule.next_after(step)
            self._owed = set(self._all)
        self.sees_validations, change = _sees_validations(self.next, self._first)
        self._stop, self._limit = _NEVER, min(self._due, change)

    def _number(self) -> int:
        if self._given is not None:
            return int(self._given())
        last = self._last_logged()
        return self.next if last is None or last < self.next else last

    @property
    def next_is_due(self) -> bool:
        """Whether the round after this one is looked at, as far as can be told."""
        return self.next >= self._due

    @property
    def is_over(self) -> bool:
        """Whether everyone has stepped who did in the last round: what follows belongs to the next one."""
        return self._stepped >= (self._previous or self._all)


def _never() -> bool:
    return False


def _sees_validations(step: int, first: int) -> tuple[bool, int]:
    """Whether validations are watched for in a step, and the step at which that changes: early, then now and then.

    A hook on the model costs each forward of a training several microseconds; a validation comes again and again.
    """
    place = step - first
    if place < _FIRST_STEPS:
        return True, first + _FIRST_STEPS
    start = place // _EVERY_STEPS * _EVERY_STEPS
    if place < start + _STEPS_EACH:
        return True, first + start + _STEPS_EACH
    return False, first + start + _EVERY_STEPS
