"""Snapshots by policy: `Recorder.snapshots` gives one of these to the training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from explorer.errors import UsageError
from explorer.recording.snapshots.policy import BestSoFar, Policy
from explorer.recording.snapshots.retention import Retention
from explorer.recording.snapshots.snapshotter import Options, Snapshotter, check_step

FINISH_TIMEOUT_S = 10.0
WENT_BACK = (
    "the training went back to a step whose snapshot was taken before, and that one stays. Record what comes after it "
    'as a new attempt: close this recorder and open Recorder(run_id=..., resume="must")'
)


class Snapshots:
    """Takes snapshots of one model when its policy says so. Made by `Recorder.snapshots`.

    Call `step` once for each optimizer step, after `Recorder.log`; or pass `after=optimizer` to `Recorder.snapshots`
    and call nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        policy: Policy,
        options: Options,
        snapshotter: Snapshotter | None,
        last_step: Callable[[], int | None],
    ) -> None:
        self._model, self._policy, self._options, self._snapshotter = model, policy, options, snapshotter
        self._last_step = last_step
        self._retention = Retention(policy)
        if snapshotter is not None:
            snapshotter.follow(self._retention)
        self._previous: int | None = None
        self._furthest = -1
        self._count = -1
        self._handles: list[Any] = []
        self.best = BestSoFar(policy.best[1]) if policy.best is not None else None

    def step(self, step: int | None = None) -> bool:
        """Take a snapshot if one is due.

        Args:
            step: the optimizer step that has just been made; by default that of the newest row of metrics, or 0.

        Returns:
            Whether one was taken.

        Raises:
            UsageError: `step` is not an integer from 0 to 10^12 - 1.
        """
        number = check_step((self._last_step() or 0) if step is None else step)
        due = self._policy.is_due(self._previous, number)
        self._previous, self._furthest = number, max(number, self._furthest)
        taken = self._take_best(number)
        return taken or (due and self._take(number))

    def _take(self, step: int) -> bool:
        if self._snapshotter is None:
            return False
        if self._snapshotter.was_taken(self._model, step):
            if step < self._furthest:
                self._snapshotter.refuse(step, WENT_BACK)
            return False
        return self._snapshotter.take(self._model, step, self._options, self._retention)

    def _take_best(self, step: int) -> bool:
        if self.best is None or not self.best.improved:
            return False
        self.best.improved = False
        taken = self._take(step)
        if taken or (self._snapshotter is not None and self._snapshotter.was_taken(self._model, step)):
            self._retention.best_step = step
        return taken

    def finish(self) -> None:
        """The training is over: take the best if the metric has just said so. Afterwards call `close`.

        A validation is often the last thing that a training does, and no step follows that would take it. Waits for the
        disk if snapshots are on their way, at most 10 s.
        """
        if self._snapshotter is None or self.best is None or not self.best.improved:
            return
        step = self._count if self._handles else self._previous
        step = (self._last_step() or 0) if step is None else step
        self._snapshotter.wait_until_written(FINISH_TIMEOUT_S)
        self._take_best(max(step, 0))

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """From now on take snapshots after the steps of this optimizer.

        They are counted from 0, or on from the newest row of metrics when there is one, as `Recorder.log` counts. A
        count that falls behind that row, since a GradScaler has left out steps, is raised to it.
        Raises UsageError when it is no optimizer.
        """
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(f"after should be a torch.optim.Optimizer or None; found {type(optimizer).__name__}")
        last = self._last_step()
        self._count = -1 if last is None else last
        self._handles.append(optimizer.register_step_post_hook(lambda *_: self._after_step()))
        if self.best is not None:  # a metric logged since then belongs to the parameters before the next step
            self._handles.append(optimizer.register_step_pre_hook(lambda *_: self._before_step()))

    def _after_step(self) -> None:
        last = self._last_step()
        self._count = self._count + 1 if last is None else max(self._count + 1, last)
        if self._count >= 0:
            self.step(self._count)
        elif self._snapshotter is not None:
            self._snapshotter.refuse(self._count, "snapshots have no negative steps")

    def _before_step(self) -> None:
        self._take_best(max(self._count, 0))

    def __deepcopy__(self, memo: dict[int, object]) -> Snapshots:
        """Itself: a copy of a trainer that holds it takes snapshots of the same model."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, for another process or a checkpoint: one that takes none."""
        return Snapshots, (self._model, self._policy, self._options, None, no_step)

    def close(self) -> None:
        """Take no more, and let go of the model; what was taken is still written. So does the recorder's `close`."""
        self._snapshotter, self._model, self._options = None, nn.Module(), Options()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def no_step() -> int | None:
    """The newest row of metrics where nothing is recorded."""
    return None
