"""What the fields of an edit may hold: numbers in a range, short texts, one of a few words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Final, Literal

from explorer.errors import UsageError

MAX_NAME: Final = 300
MAX_INDEX: Final = 2**31 - 1
MAX_SEED: Final = 2**32 - 1

On = Literal["weights", "activations", "inputs"]
Plain = str | int | float | None


@dataclass(frozen=True)
class Edit(ABC):
    """One change. Its fields are numbers and short texts, so it is plain data; two equal edits do the same.

    Attributes:
        kind: the word for it in a recipe.
        on: what it changes.
    """

    kind: ClassVar[str]
    on: ClassVar[On]

    @abstractmethod
    def describe(self) -> str:
        """The edit in a few words, such as `scale fc.weight by 0.5`."""

    def to_dict(self) -> dict[str, Plain]:
        """The edit as plain data: its kind, and each field that is not at its default."""
        plain: dict[str, Plain] = {"edit": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                plain[field.name] = value
        return plain

    def _set(self, name: str, value: Plain) -> None:
        """Put a checked value in its place, while the edit is being made."""
        object.__setattr__(self, name, value)

    def _number(self, name: str, low: float = -math.inf, high: float = math.inf) -> None:
        self._set(name, number(getattr(self, name), f"{name} of {self.kind}", low, high))

    def _integer(self, name: str, low: int = 0, high: int = MAX_INDEX) -> None:
        integer(getattr(self, name), f"{name} of {self.kind}", low, high)

    def _text(self, name: str, *, empty: bool = False) -> None:
        text(getattr(self, name), f"{name} of {self.kind}", empty=empty)

    def _choice(self, name: str, known: Sequence[str]) -> None:
        found = getattr(self, name)
        if not isinstance(found, str) or found not in known:
            raise UsageError(f"{name} of {self.kind} should be one of {', '.join(known)}; found {short(found)}")


def number(value: Any, what: str, low: float = -math.inf, high: float = math.inf) -> float:  # noqa: ANN401
    """A finite number within [low, high] as a float. Raises UsageError."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
    if not good or not low <= value <= high:
        raise UsageError(f"{what} should be a finite number{_reach(low, high)}; found {short(value)}")
    return float(value)


def integer(value: Any, what: str, low: int = 0, high: int = MAX_INDEX) -> int:  # noqa: ANN401
    """A whole number within [low, high]. Raises UsageError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{what} should be a whole number{_reach(low, high)}; found {short(value)}")
    return value


def text(value: Any, what: str, *, empty: bool = False) -> str:  # noqa: ANN401
    """A printable text of at most MAX_NAME characters. Raises UsageError."""
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable() or not (value or empty):
        raise UsageError(f"{what} should be a text of 1 to {MAX_NAME} printable characters; found {short(value)}")
    return value


def short(value: object) -> str:
    """A value for an error's text, cut to a length that fits a line."""
    if isinstance(value, int) and abs(value) > 10**18:
        return "a very large number"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _reach(low: float, high: float) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf or high in (MAX_INDEX, MAX_SEED):
        return f" of at least {low:g}"
    return f" from {low:g} to {high:g}"
