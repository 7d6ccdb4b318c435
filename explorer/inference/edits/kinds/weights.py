"""Edits of weights. `target`: see `places`. A module stands for its parameters; buffers are edited by their own names.

Edits that carry over values of another snapshot take a module's buffers along, since they belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from explorer.inference.edits.kinds.fields import MAX_SEED, Edit, On
from explorer.inference.edits.kinds.places import describe_target, parse_target

ROUND_TO: Final = ("int8", "float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True)
class WeightEdit(Edit):
    """An edit of the weights at a target."""

    target: str

    on: ClassVar[On] = "weights"

    def __post_init__(self) -> None:
        parse_target(self.target)
        self._check()

    def _check(self) -> None:
        """Check the further fields."""

    @property
    def _place(self) -> str:
        return describe_target(self.target)


@dataclass(frozen=True)
class ScaleWeights(WeightEdit):
    """Multiply by a factor; 1 changes nothing."""

    factor: float

    kind: ClassVar[str] = "scale"

    def _check(self) -> None:
        self._number("factor")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"scale {self._place} by {self.factor:g}"


@dataclass(frozen=True)
class ZeroWeights(WeightEdit):
    """Set to 0."""

    kind: ClassVar[str] = "zero"

    def describe(self) -> str:
        """The edit in a few words."""
        return f"set {self._place} to zero"


@dataclass(frozen=True)
class SetWeights(WeightEdit):
    """Set every element at the target to a value."""

    value: float

    kind: ClassVar[str] = "set"

    def _check(self) -> None:
        self._number("value")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"set {self._place} to {self.value:g}"


@dataclass(frozen=True)
class PruneWeights(WeightEdit):
    """Set the share of smallest magnitudes of each tensor to 0; a share of 0 changes nothing."""

    share: float

    kind: ClassVar[str] = "prune"

    def _check(self) -> None:
        self._number("share", 0, 1)

    def describe(self) -> str:
        """The edit in a few words."""
        return f"prune the smallest {self.share:.4g} of {self._place}"


@dataclass(frozen=True)
class AddNoise(WeightEdit):
    """Add Gaussian noise whose root mean square is `relative_sd` times that of the tensor; 0 changes nothing."""

    relative_sd: float
    seed: int = 0

    kind: ClassVar[str] = "noise"

    def _check(self) -> None:
        self._number("relative_sd", 0, 1e6)
        self._integer("seed", 0, MAX_SEED)

    def describe(self) -> str:
        """The edit in a few words."""
        return f"add noise of {self.relative_sd:g} times its size to {self._place} (seed {self.seed})"


@dataclass(frozen=True)
class RoundWeights(WeightEdit):
    """Round to the values that an 8-bit number times a scale can hold, one scale a tensor or one a row ("channel")."""

    to: str
    scales: str = "tensor"

    kind: ClassVar[str] = "round"

    def _check(self) -> None:
        self._choice("to", ROUND_TO)
        self._choice("scales", ("tensor", "channel"))

    def describe(self) -> str:
        """The edit in a few words."""
        return f"round {self._place} to {self.to}, one scale a {self.scales}"


@dataclass(frozen=True)
class TruncateRank(WeightEdit):
    """Keep the largest singular values only; a rank that is full already changes nothing."""

    rank: int

    kind: ClassVar[str] = "low_rank"

    def _check(self) -> None:
        self._integer("rank", 0)

    def describe(self) -> str:
        """The edit in a few words."""
        return f"reduce {self._place} to rank {self.rank}"


@dataclass(frozen=True)
class ResetWeights(WeightEdit):
    """Go back to the first snapshot of the run."""

    kind: ClassVar[str] = "reset"

    def describe(self) -> str:
        """The edit in a few words."""
        return f"reset {self._place} to the first snapshot"


@dataclass(frozen=True)
class TakeWeights(WeightEdit):
    """Take the values of another step, or of another run (its id); "" is the run itself."""

    step: int
    run: str = ""

    kind: ClassVar[str] = "take"

    def _check(self) -> None:
        self._integer("step", 0, 2**62)
        self._text("run", empty=True)

    def describe(self) -> str:
        """The edit in a few words."""
        return f"take {self._place} from step {self.step:,}{_of_run(self.run)}"


@dataclass(frozen=True)
class InterpolateWeights(WeightEdit):
    """Go a share `t` of the way to another snapshot; exactly unchanged at 0, exactly the other at 1."""

    t: float
    step: int
    run: str = ""

    kind: ClassVar[str] = "interpolate"

    def _check(self) -> None:
        self._number("t", 0, 1)
        self._integer("step", 0, 2**62)
        self._text("run", empty=True)

    def describe(self) -> str:
        """The edit in a few words."""
        return f"move {self._place} {self.t:.4g} of the way to step {self.step:,}{_of_run(self.run)}"


def _of_run(run: str) -> str:
    return f" of run {run}" if run else ""
