"""What handlers of requests take and give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.checkpoint_scrubber import as_array

Request = Mapping[str, Any]
Answer = dict[str, Any]


class Ticker(Protocol):
    """Tells how far the work is, and stops it when it was cancelled."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Tell; raises where the work should stop."""
        ...


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of outputs or nodes as arrays and numbers. Raises UsageError: something else is among them."""
    return {name: as_array(value) if isinstance(value, Tensor) else _other(value) for name, value in values.items()}


def _other(value: Any) -> Any:  # noqa: ANN401 - what a node or a model gives
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [as_array(part) if isinstance(part, Tensor) else _other(part) for part in value]
    raise UsageError(f"the model gives a {type(value).__name__}, which cannot be shown")
