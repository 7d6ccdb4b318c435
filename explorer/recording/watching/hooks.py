"""Hooks that leave no trace of the recorder in a model that is copied, pickled or saved while it is watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch


class Hook:
    """Calls a function with a hook's arguments and returns nothing, so that it changes nothing.

    It does nothing while torch compiles what it hangs on; an error of the function is handed on instead of raised. A
    copy or a pickle of it is a method of the standard library that takes anything and does nothing, so whoever loads
    the model needs nothing of ours.
    """

    def __init__(self, call: Callable[..., None], failed: Callable[[Exception], None]) -> None:
        self._call, self._failed = call, failed

    def __call__(self, *arguments: Any) -> None:  # noqa: ANN401, D102 - whatever torch passes
        if torch.compiler.is_compiling():
            return
        try:
            self._call(*arguments)
        except Exception as error:
            self._failed(error)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")
