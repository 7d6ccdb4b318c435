"""Which step it is, and whether it is looked at."""

from __future__ import annotations

from collections.abc import Callable

from explorer.recording.watching.schedule import Schedule


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
        counts: how often each optimizer has begun a step.
    """

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
        self._is_several = num_optimizers > 1
        self._num_passed = 0
        self._schedule, self._given, self._last_logged = schedule, given, last_logged
        self.next = self._due = first
        self._asked: int | None = None  # the number of this round, when it is known already
        self._stepped: set[int] = set()
        self._previous: set[int] = set()
        self._owed: set[int] = set()

    def passes(self) -> bool:
        """Count a step of a single optimizer that has nothing to do with a look: neither it nor the next is one.

        False when it is not such a step, and nothing is counted. It is called in every step, with cold caches, so it
        touches little: `step` and `counts` follow with the next `begin`.
        """
        if self._is_several:
            return False
        if self._given is None:
            step, last = self.next, self._last_logged()
            if last is not None and last > step:
                step = last
        else:
            step = int(self._given())
        if step + 1 >= self._due or step + 1 < self.next:
            self._asked = step
            return False
        self.next = step + 1
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
