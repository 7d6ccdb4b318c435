"""The snapshots that one policy took, and how they go again; used by the writer thread alone."""

from __future__ import annotations

from collections.abc import Callable, Collection

from explorer.recording.snapshots.policy import Kept, Policy, next_to_drop


class Retention:
    """See the module.

    Attributes:
        best_step: the step of the best snapshot, written or not, which stays; set by the training's thread.
        num_dropped: snapshots deleted so far.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._kept: list[Kept] = []
        self.best_step: int | None = None
        self._best_on_disk: int | None = None
        self.num_dropped = 0

    def add(self, step: int, num_bytes: int) -> None:
        """A snapshot has been written."""
        self._kept.append(Kept(step, num_bytes))

    def staying(self, on_disk: Collection[int]) -> set[int]:
        """The steps that no policy may delete: of the best snapshot, and of the one before it until that is on disk."""
        best = self.best_step
        if best in on_disk:
            self._best_on_disk = best
        return {step for step in (best, self._best_on_disk) if step is not None}

    def thin(self, drop: Callable[[int], None], total_bytes: Callable[[], int], staying: Collection[int]) -> None:
        """Delete what the policy does not keep. Raises OSError; what is left is deleted by the next call.

        Args:
            drop: deletes the snapshot of a step.
            total_bytes: bytes of all snapshots of the run, these included.
            staying: steps that nobody may delete, of other policies too.
        """
        while True:
            other = total_bytes() - sum(each.num_bytes for each in self._kept)
            step = next_to_drop(self._kept, staying, self._policy, other)
            if step is None:
                return
            drop(step)
            self._kept = [each for each in self._kept if each.step != step]
            self.num_dropped += 1
