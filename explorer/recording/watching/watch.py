"""Watches a model while it trains; what `Recorder.watch` returns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from explorer.recording.notices import Notices
from explorer.recording.overhead import Overhead
from explorer.recording.program.first_batch import FirstBatch
from explorer.recording.watching.drafts import Draft
from explorer.recording.watching.first_snapshot import FirstSnapshot
from explorer.recording.watching.hooks import ForwardHook, Hook
from explorer.recording.watching.look import Look
from explorer.recording.watching.methods import Off
from explorer.recording.watching.options import Options
from explorer.recording.watching.rounds import Rounds
from explorer.recording.watching.task import WatchTask


class Watch:
    """A model that is being watched. `remove()` ends it; so does the end of the recording.

    A step that is not looked at costs one hook of the optimizer. One of the model, which tells a validation, is there
    around the steps that are, and now and then: see `Rounds.sees_validations`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: list[Optimizer],
        options: Options,
        names: frozenset[str],
        *,
        task: WatchTask,
        notices: Notices,
        overhead: Overhead,
        first_step: int,
        last_logged: Callable[[], int | None],
        first: FirstSnapshot | None,
        first_batch: FirstBatch | None,
        forget: Callable[[Watch], None],
    ) -> None:
        self._model, self._names, self._forget = model, names, forget
        self._task, self._notices, self._overhead = task, notices, overhead
        self._metrics = f"watch/{options.prefix}/" if options.prefix else "watch/"
        self._rounds = Rounds(max(1, len(optimizers)), options.schedule, first_step, options.step, last_logged)
        self._look = Look(model, optimizers, options, task.book, notices, self._timed, self._failed, first=first)
        self._first_batch = first_batch
        if first_batch is not None:
            first_batch.paused = self._forget_times
        self._draft: Draft | None = None
        self._ended_s: float | None = None
        self._forward_s: float | None = None
        self._own_s = 0.0
        self._saw_eval = False
        self._pid = os.getpid()
        self._counts_forwards = not optimizers
        self._forward_hook = ForwardHook(self._before_forward, self._failed)
        self._take_off: list[Callable[[], None]] = []
        self._forward_handle: RemovableHandle | None = None
        self._watch_forwards(True)
        self._handles: list[Any] = []
        if self._counts_forwards:
            self._handles.append(model.register_forward_hook(Hook(self._after_forward, self._failed)))
        for index, optimizer in enumerate(optimizers):
            self._follow(index, optimizer)
        self._timed(self._look.put_on)

    @property
    def next_step(self) -> int:
        """The number of the step that is under way, as far as can be told."""
        return self._rounds.next

    def __deepcopy__(self, memo: dict[int, object]) -> Watch:
        """Itself: a copy of a trainer that holds it leaves the watching as it is."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, for another process or a checkpoint: a handle of nothing."""
        return Off, ()

    def remove(self) -> None:
        """Take every hook off: model and optimizers are as they were before. Does nothing the second time."""
        while self._handles:
            self._handles.pop().remove()
        while self._take_off:
            self._take_off.pop()()
        self._watch_forwards(False)
        self._look.take_off()
        if self._first_batch is not None:
            self._first_batch.remove()
        self._draft = None
        self._task.book.end_watch(self._names)
        self._forget(self)

    def _follow(self, index: int, optimizer: Optimizer) -> None:
        """Hooks of one optimizer; copies and pickles of it leave them out. The one behind the step comes and goes.

        Most calls of the other end in `passes`, which is a comparison of numbers. It runs with cold caches, where each
        variable that it closes over costs, so what is done in other steps is in a function of its own.
        """
        is_compiling, passes = torch.compiler.is_dynamo_compiling, self._rounds.passes
        behind: Any = None

        def before(_: Optimizer, arguments: Any, more: Any) -> None:  # noqa: ANN401
            if not is_compiling() and not passes():
                attend(arguments, more)

        def attend(arguments: Any, more: Any) -> None:  # noqa: ANN401
            nonlocal behind
            try:
                if self._rounds.rests():
                    if behind is not None:
                        behind, gone = None, behind
                        gone.remove()
                        self._rest()
                    return
                if behind is None:
                    behind = optimizer.register_step_post_hook(after)
                # The arguments begin with the optimizer itself.
                closures = [value for value in (*arguments, more.get("closure")) if callable(value)]
                self._before_step(index, bool(closures))
            except Exception as error:
                self._failed(error)

        def after(*_: object) -> None:
            if not is_compiling():
                try:
                    self._after_step(index)
                except Exception as error:
                    self._failed(error)

        def take_off() -> None:
            if behind is not None:
                behind.remove()

        self._handles.append(optimizer.register_step_pre_hook(before))
        self._take_off.append(take_off)

    def _failed(self, error: Exception) -> None:
        """Something in a hook failed: the look is given up, the training goes on."""
        self._draft = None
        self._look.take_off()
        self._task.num_failed += 1
        what = f"a look into the model failed ({type(error).__name__}: {error}); the training is not affected"
        self._notices.warn(f"watch {type(error).__name__}", what)

    def _timed(self, work: Callable[..., None], *arguments: object) -> None:
        """Do it without gradients; its CPU counts as ours, and its time not as the training's."""
        if os.getpid() != self._pid:  # a forked process records nothing
            return
        began_s, began_wall_s = time.thread_time(), time.perf_counter()
        try:
            with torch.no_grad():
                work(*arguments)
        finally:
            self._overhead.sampling_s += time.thread_time() - began_s
            self._own_s += time.perf_counter() - began_wall_s

    # Steps of the optimizers.

    def _before_step(self, index: int, has_closure: bool) -> None:
        rounds = self._rounds
        if rounds.begin(index):
            if not _is_capturing():
                self._timed(self._look_before, index, has_closure)
        elif rounds.next_is_due:
            self._timed(self._look.keep_gradients, index, rounds.counts[index])

    def _look_before(self, index: int, has_closure: bool) -> None:
        draft = Draft(self._rounds.step or 0, time.monotonic_ns())
        self._look.begin(index, self._rounds.counts[index], draft, has_closure=has_closure)
        self._draft = draft

    def _after_step(self, index: int) -> None:
        rounds, stepped_s = self._rounds, time.perf_counter() - self._own_s
        draft, self._draft = self._draft, None
        if draft is not None:
            self._timed(self._look_after, index, draft)
        if not rounds.is_over:
            return
        if rounds.is_looked_at:
            self._timed(self._send_times, stepped_s)
        self._forward_hook.is_wanted = rounds.next_is_due
        self._watch_forwards(rounds.is_looked_at or rounds.next_is_due or rounds.sees_validations)
        if rounds.next_is_due:
            self._timed(self._look.put_on)
        if self._first_batch is not None:
            self._first_batch.after_step(rounds.step)
        self._forward_s, self._own_s = None, 0.0
        self._ended_s = time.perf_counter()

    def _rest(self) -> None:
        """This step and the next one are not looked at, and the one before was, or was the last before this one."""
        self._ended_s = None
        self._watch_forwards(self._rounds.sees_validations)

    def _look_after(self, index: int, draft: Draft) -> None:
        self._look.end(index, self._rounds.counts[index], draft)
        self._task.take(draft)

    def _send_times(self, stepped_s: float) -> None:
        if self._ended_s is None:
            return
        step_s = stepped_s - self._ended_s
        draft = Draft(self._rounds.step or 0, time.monotonic_ns())
        draft.scalars[f"{self._metrics}step_s"] = lambda: step_s
        if self._forward_s is not None:
            wait_s = self._forward_s - self._ended_s
            draft.scalars[f"{self._metrics}data_wait_s"] = lambda: wait_s
        self._task.take(draft)

    def _forget_times(self) -> None:
        """The training has been held up between two steps."""
        self._ended_s = None

    # Forwards of the model.

    def _watch_forwards(self, is_wanted: bool) -> None:
        """Have the hook before the model's forwards, or have it no more."""
        if is_wanted and self._forward_handle is None:
            self._forward_handle = self._model.register_forward_pre_hook(self._forward_hook)
        elif not is_wanted and self._forward_handle is not None:
            self._forward_handle.remove()
            self._forward_handle = None

    def _before_forward(self, *_: object) -> None:
        if not torch.is_grad_enabled():
            self._ended_s = None  # what a validation takes is neither the step's time nor a wait for data
            if not self._saw_eval:
                self._saw_eval = True
                self._task.book.count_modes("eval", self._look.members.modules)
        elif self._model.training:
            if self._counts_forwards:
                self._count_forward()
            elif self._forward_s is None:
                self._forward_s = time.perf_counter()
                if self._rounds.next_is_due:
                    self._task.book.count_modes("train", self._look.members.modules)
                    self._saw_eval = False

    def _count_forward(self) -> None:
        if self._rounds.begin() and not _is_capturing():
            self._draft = Draft(self._rounds.step or 0, time.monotonic_ns())
            self._timed(self._look.begin_forward, self._draft)
            self._task.book.count_modes("train", self._look.members.modules)
            self._saw_eval = False

    def _after_forward(self, *_: object) -> None:
        draft, self._draft = self._draft, None
        if draft is not None:
            self._timed(self._look.end_forward, draft)
            self._task.take(draft)


def _is_capturing() -> bool:
    """Whether a CUDA graph is being captured: what is enqueued now would be replayed with it."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
