"""Edits of inputs: images, rows of a table, tokens. `input` is the input's path in the call; "" is the only one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from explorer.errors import UsageError
from explorer.inference.edits.kinds.fields import MAX_INDEX, MAX_SEED, Edit, On, short

MAX_TOKENS: Final = 4_096
_TOKENS: Final = re.compile(r"\d{1,10}(?: \d{1,10})*", re.ASCII)
BOX_BY: Final = ("value", "blur", "noise")


@dataclass(frozen=True)
class InputEdit(Edit):
    """An edit of one input, of every example in the batch."""

    input: str = ""

    on: ClassVar[On] = "inputs"

    def __post_init__(self) -> None:
        self._text("input", empty=True)
        self._check()

    def _check(self) -> None:
        """Check the further fields."""

    @property
    def _of(self) -> str:
        return f" of {self.input}" if self.input else ""


@dataclass(frozen=True)
class EditBox(InputEdit):
    """Change the pixels in a box of an image [..., H, W]: a single pixel, a patch, or all of it (the default).

    Attributes:
        top, left, height, width: in pixels; a height or width of 0 reaches to the edge.
        by: `value` sets every pixel to `amount`; `blur` is Gaussian with a standard deviation of `amount` pixels;
            `noise` adds Gaussian noise with the standard deviation `amount`.
        channel: only this one; None is all.
        seed: of the noise.
    """

    top: int = 0
    left: int = 0
    height: int = 0
    width: int = 0
    by: str = "value"
    amount: float = 0.0
    channel: int | None = None
    seed: int = 0

    kind: ClassVar[str] = "box"

    def _check(self) -> None:
        for name in ("top", "left", "height", "width"):
            self._integer(name)
        self._choice("by", BOX_BY)
        self._number("amount", *((0, 100) if self.by == "blur" else (0, 1e300) if self.by == "noise" else ()))
        if self.channel is not None:
            self._integer("channel")
        self._integer("seed", 0, MAX_SEED)

    def describe(self) -> str:
        """The edit in a few words."""
        size = f"{self.height or 'full'} x {self.width or 'full'}"
        place = f"the {size} pixels at row {self.top}, column {self.left}{self._of}"
        if self.channel is not None:
            place += f", channel {self.channel}"
        if self.by == "value":
            return f"set {place} to {self.amount:g}"
        if self.by == "blur":
            return f"blur {place} by {self.amount:g} pixels"
        return f"add noise of {self.amount:g} to {place} (seed {self.seed})"


@dataclass(frozen=True)
class ShiftImage(InputEdit):
    """Move an image [..., H, W], or a box of it, down and to the right (negative: up, left).

    Attributes:
        down, right: in pixels; what leaves the image is lost.
        fill: what stays behind, and what comes in from outside.
        top, left, height, width: of the box, in pixels; a height or width of 0 reaches to the edge.
    """

    down: int = 0
    right: int = 0
    fill: float = 0.0
    top: int = 0
    left: int = 0
    height: int = 0
    width: int = 0

    kind: ClassVar[str] = "shift"

    def _check(self) -> None:
        self._integer("down", -100_000, 100_000)
        self._integer("right", -100_000, 100_000)
        self._number("fill")
        for name in ("top", "left", "height", "width"):
            self._integer(name)

    def describe(self) -> str:
        """The edit in a few words."""
        is_whole = not (self.top or self.left or self.height or self.width)
        size = f"{self.height or 'full'} x {self.width or 'full'}"
        what = "the image" if is_whole else f"the {size} pixels at row {self.top}, column {self.left}"
        return f"shift {what}{self._of} by {self.down} down and {self.right} right"


@dataclass(frozen=True)
class SetFeature(InputEdit):
    """Set one feature (the last dimension) of a row to a value."""

    feature: int = 0
    value: float = 0.0

    kind: ClassVar[str] = "feature"

    def _check(self) -> None:
        self._integer("feature")
        self._number("value")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"set feature {self.feature}{self._of} to {self.value:g}"


@dataclass(frozen=True)
class ReplaceToken(InputEdit):
    """Put another token at a position (the last dimension)."""

    position: int = 0
    token: int = 0

    kind: ClassVar[str] = "replace_token"

    def _check(self) -> None:
        self._integer("position")
        self._integer("token")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"replace the token at position {self.position}{self._of} by {self.token}"


@dataclass(frozen=True)
class InsertToken(InputEdit):
    """Put a token in before a position; the sequence grows by one."""

    position: int = 0
    token: int = 0

    kind: ClassVar[str] = "insert_token"

    def _check(self) -> None:
        self._integer("position")
        self._integer("token")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"insert token {self.token} at position {self.position}{self._of}"


@dataclass(frozen=True)
class DeleteToken(InputEdit):
    """Leave out the token at a position; the sequence shrinks by one."""

    position: int = 0

    kind: ClassVar[str] = "delete_token"

    def _check(self) -> None:
        self._integer("position")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"delete the token at position {self.position}{self._of}"


@dataclass(frozen=True)
class SetTokens(InputEdit):
    """Put a whole text in the place of another, of any length.

    Attributes:
        tokens: their numbers, with a blank between, such as "5 0 17".
    """

    tokens: str = "0"

    kind: ClassVar[str] = "set_tokens"

    def _check(self) -> None:
        count = self.tokens.count(" ") + 1 if isinstance(self.tokens, str) else 0
        if not 1 <= count <= MAX_TOKENS or _TOKENS.fullmatch(self.tokens) is None or max(self.numbers()) > MAX_INDEX:
            raise UsageError(
                f"tokens of set_tokens should be 1 to {MAX_TOKENS:,} numbers with a blank between; found "
                f"{short(self.tokens)}"
            )

    def numbers(self) -> list[int]:
        """The tokens as numbers."""
        return [int(token) for token in self.tokens.split(" ")]

    def describe(self) -> str:
        """The edit in a few words."""
        numbers = self.numbers()
        listed = " ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")
        return f"set the {len(numbers)} token{'s' if len(numbers) > 1 else ''}{self._of} to {listed}"
