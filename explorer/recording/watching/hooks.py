"""Hooks that leave no trace of the recorder in a model that is copied, pickled or saved while it is watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from torch import is_grad_enabled
from torch.compiler import is_compiling, is_dynamo_compiling


class Hook:
    """Calls a function with a hook's arguments and returns nothing, so that it changes nothing.

    It does nothing while torch compiles what it hangs on; an error of the function is handed on instead of raised. A
    copy or a pickle of it is a method of the standard library that takes anything and does nothing, so whoever loads
    the model needs nothing of ours.
    """

    def __init__(self, call: Callable[..., None], failed: Callable[[Exception], None]) -> None:
        self._call, self._failed = call, failed

    def __call__(self, *arguments: Any) -> None:  # noqa: ANN401, D102 - whatever torch passes
        if is_compiling():
            return
        try:
            self._call(*arguments)
        except Exception as error:
            self._failed(error)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class ForwardHook(Hook):
    """Stands before the forwards of a whole model, and lets those of the training pass as long as none is wanted.

    It is called in every step, with cold caches, so it touches little on its way.

    Attributes:
        is_wanted: whether the forwards of the training are wanted too, and not only those without gradients.
    """

    is_wanted = True

    def __call__(self, *arguments: Any) -> None:  # noqa: ANN401, D102 - whatever torch passes
        if is_dynamo_compiling() or (not self.is_wanted and is_grad_enabled()):
            return
        super().__call__(*arguments)
