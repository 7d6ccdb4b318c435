"""The first batch that a watched model sees: kept until the training is between two steps, then captured with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.hooks import RemovableHandle

from explorer.recording.program.held import Inputs, TooLarge, hold
from explorer.recording.watching.hooks import Hook

MAX_LOGS: Final = 100
"""Rows that are logged at moments which do not do, before it is given up."""


class FirstBatch:
    """Waits for a forward of the training and then for a moment to capture at; both on the thread that watches.

    The moment is the end of the first step of the optimizers. Where there is none, or that is within a backward pass or
    under an autocast, it is the first row that is logged after it.

    Args:
        model: as it is called: plain, compiled or wrapped.
        steps: an optimizer will say when it has stepped; without one any forward is the first.
        capture: does it; given the model, what it was called with (see `held.hold`), and the step, where that is known.
        listen: has `at_log` called with the next row.
        skip: told why it cannot be.

    Attributes:
        paused: called after a capture that was not at the end of a step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: bool,
        capture: Callable[[nn.Module, list[Inputs], int | None], None],
        listen: Callable[[], None],
        skip: Callable[[str], None],
    ) -> None:
        self.paused: Callable[[], None] = _do_nothing
        self._model, self._has_steps = model, steps
        self._capture, self._listen, self._skip = capture, listen, skip
        self._thread = threading.get_ident()
        self._held: list[Inputs] | None = None
        self._depth = self._num_logs = 0
        # Both stay until it is over: whoever logs within a forward is told from who logs after it by them.
        self._handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(Hook(self._before, self._failed), with_kwargs=True),
            model.register_forward_hook(Hook(self._after, self._failed), always_call=True),
        ]

    def remove(self) -> None:
        """Take the hooks off and keep nothing, neither the model nor who watches it. Does nothing the second time."""
        while self._handles:
            self._handles.pop().remove()
        self._held, self._model, self.paused = None, nn.Module(), _do_nothing

    @property
    def is_waiting(self) -> bool:
        """Whether a batch is kept for a moment that is still to come."""
        return self._held is not None

    def after_step(self, step: int | None) -> None:
        """The optimizers have stepped: that was the step of this number."""
        if self._held is None:
            return
        if self._is_quiet():
            self._do(step)
        else:
            self._listen()

    def at_log(self) -> None:
        """A row was recorded."""
        if self._held is None:
            return
        if self._is_quiet():
            paused = self.paused
            self._do(None)
            paused()
        elif self._num_logs < MAX_LOGS:
            self._num_logs += 1
            self._listen()
        else:
            self._give_up("there was no moment for it outside of backward passes, autocast and functions that trace")

    def _do(self, step: int | None) -> None:
        held, model = self._held, self._model
        self.remove()
        if held is not None:
            self._capture(model, held, step)

    def _before(self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        self._depth += 1
        if self._held is not None or self._depth > 1 or is_busy():
            return
        if self._has_steps and not (module.training and torch.is_grad_enabled()):
            return
        try:
            self._held = hold(args, kwargs) or None
        except TooLarge as reason:
            self._give_up(f"the batch cannot be kept for it ({reason})")
            return
        if self._held is not None and not self._has_steps:
            self._listen()

    def _after(self, *_: object) -> None:
        if threading.get_ident() == self._thread:
            self._depth = max(0, self._depth - 1)  # it is called for a forward that a hook before ours refused, too

    def _failed(self, error: Exception) -> None:
        self._give_up(f"looking at it failed ({type(error).__name__}: {error})")

    def _give_up(self, reason: str) -> None:
        self.remove()
        self._skip(reason)

    def _is_quiet(self) -> bool:
        autocast = any(torch.is_autocast_enabled(kind) for kind in ("cuda", "cpu", "mps"))
        return self._thread == threading.get_ident() and not self._depth and not autocast and not is_busy()


def is_busy() -> bool:
    """Whether PyTorch is in the middle of something that a capture, or a copy of a tensor, would become a part of.

    That is a backward pass (checkpointing runs forwards again within it), a trace, a transform such as vmap, a mode
    that sees every call (not that of `torch.set_default_device`), or a CUDA graph that is being captured.
    """
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return bool(
        torch._C._current_graph_task_id() != -1
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or _get_current_dispatch_mode() is not None
        or any(not isinstance(mode, DeviceContext) for mode in modes)
        or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())
    )


def _do_nothing() -> None:
    """What `paused` is where nobody measures times."""
