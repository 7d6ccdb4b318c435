"""What `watch` was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from explorer.errors import UsageError
from explorer.recording.watching.naming import Choice
from explorer.recording.watching.schedule import Schedule, parse_schedule

KINDS = ("param", "grad", "update", "activation")


@dataclass(frozen=True)
class Options:
    """See `Recorder.watch`, whose arguments these are, checked."""

    kinds: tuple[str, ...]
    choice: Choice
    schedule: Schedule
    scaler: Any
    step: Callable[[], int] | None
    prefix: str
    max_copy_bytes: int


def check(
    model: object,
    optimizer: object,
    kinds: object,
    include: object,
    exclude: object,
    schedule: object,
    scaler: object,
    step: object,
    prefix: object,
    max_copy_bytes: object,
) -> tuple[list[Optimizer], Options]:
    """The arguments of `Recorder.watch` in order. Raises UsageError."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"model should be a torch.nn.Module; found {type(model).__name__}")
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise UsageError(f"scaler should be a torch.amp.GradScaler or None; found {type(scaler).__name__}")
    if step is not None and not callable(step):
        raise UsageError(f"step should be a function that returns the number of the step; found {step!r}")
    if not isinstance(prefix, str):
        raise UsageError(f"prefix should be text; found {prefix!r}")
    if not isinstance(max_copy_bytes, int) or isinstance(max_copy_bytes, bool) or max_copy_bytes < 0:
        raise UsageError(f"max_copy_bytes should be a number of bytes; found {max_copy_bytes!r}")
    options = Options(
        parse_kinds(kinds), Choice(include, exclude), parse_schedule(schedule), scaler, step, prefix, max_copy_bytes
    )
    return parse_optimizers(optimizer), options


def parse_kinds(kinds: object) -> tuple[str, ...]:
    """The kinds in their usual order. Raises UsageError."""
    given = [kinds] if isinstance(kinds, str) else list(kinds) if isinstance(kinds, Iterable) else None
    if given is None or not given or any(kind not in KINDS for kind in given):
        raise UsageError(f"kinds should be some of {', '.join(KINDS)}; found {kinds!r}")
    return tuple(kind for kind in KINDS if kind in given)


def parse_optimizers(optimizers: object) -> list[Optimizer]:
    """None, one or several, out of whatever wraps them. Raises UsageError."""
    if optimizers is None:
        return []
    given = list(optimizers) if isinstance(optimizers, Iterable) else [optimizers]
    found: list[Optimizer] = []
    for optimizer in given:
        inner: Any = optimizer
        while isinstance(getattr(inner, "optimizer", None), Optimizer):
            inner = inner.optimizer
        if not isinstance(inner, Optimizer):
            raise UsageError(
                f"optimizer should be a torch.optim.Optimizer, several of them, or None; found "
                f"{type(optimizer).__name__}"
            )
        if any(inner is other for other in found):
            raise UsageError("the same optimizer was given twice")
        found.append(inner)
    return found
