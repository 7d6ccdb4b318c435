"""The moment when a backward pass is over, and gradients are whole and not clipped yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from explorer.recording.watching.hooks import Hook


class BackwardEnds:
    """Calls back at the end of each backward pass, while it is put on.

    The first gradient that is ready asks autograd for a call at the end of the pass. That call asks for another one,
    which comes after those that others have asked for meanwhile: DistributedDataParallel averages gradients in one.
    """

    def __init__(self, at_end: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._at_end, self._failed = at_end, failed
        self._handles: list[RemovableHandle] = []
        self._asked = False

    def put_on(self, parameters: Iterable[nn.Parameter]) -> None:
        """Wait for the backward passes that reach these parameters."""
        self.take_off()
        hook = Hook(self._on_gradient, self._failed)
        for parameter in parameters:
            if parameter.requires_grad and not nn.parameter.is_lazy(parameter):
                self._handles.append(parameter.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]

    def take_off(self) -> None:
        """Wait no longer."""
        while self._handles:
            self._handles.pop().remove()
        self._asked = False

    def _on_gradient(self, parameter: Tensor) -> None:
        if not self._asked:
            self._asked = True
            _queue(self._ask_again)

    def _ask_again(self) -> None:
        _queue(self._end)

    def _end(self) -> None:
        self._asked = False
        if not self._handles:
            return
        try:
            self._at_end()
        except Exception as error:
            self._failed(error)


def _queue(call: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(call)
