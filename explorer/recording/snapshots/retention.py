"""The snapshots that one policy took, and how they go again; used by the writer thread alone."""

from __future__ import annotations

from collections.abc import Callable

from explorer.recording.snapshots.policy import Kept, Policy, next_to_drop


class Retention:
    """See the module.

    Attributes:
        best_step: the step of the best snapshot, which stays; set by the training's thread.
        num_dropped: snapshots deleted so far.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._kept: list[Kept] = []
        self.best_step: int | None = None
        self.num_dropped = 0

    def add(self, step: int, num_bytes: int) -> None:
        """A snapshot has been written."""
        self._kept.append(Kept(step, num_bytes))

    def thin(self, drop: Callable[[int], None], total_bytes: Callable[[], int]) -> None:
        """Delete what the policy does not keep. Raises OSError; what is left is deleted by the next call.

        Args:
            drop: deletes the snapshot of a step.
            total_bytes: bytes of all snapshots of the run, these included.
        """
        while True:
            other = total_bytes() - sum(each.num_bytes for each in self._kept)
            step = next_to_drop(self._kept, self.best_step, self._policy, other)
            if step is None:
                return
            drop(step)
            self._kept = [each for each in self._kept if each.step != step]
            self.num_dropped += 1
