"""Edits of activations: of the value of one node, or of a part of it. `part`: see `places`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from explorer.errors import UsageError
from explorer.inference.edits.kinds.fields import MAX_SEED, Edit, On
from explorer.inference.edits.kinds.places import describe_part, parse_part

ABLATE_BY: Final = ("mean", "zero", "resample")


@dataclass(frozen=True)
class ActivationEdit(Edit):
    """An edit of the value of `node`, at `part`."""

    node: str
    part: str = ""

    on: ClassVar[On] = "activations"

    def __post_init__(self) -> None:
        self._text("node")
        parse_part(self.part)
        self._check()

    def _check(self) -> None:
        """Check the further fields."""

    @property
    def _place(self) -> str:
        return f"{self.node}{describe_part(self.part)}"


@dataclass(frozen=True)
class Ablate(ActivationEdit):
    """Take the information away: by the mean over the probe batch, by zero, or by another example's value (resample).

    Zero is a value that the model may never have seen and overstates what a unit does, so the mean is the default.
    """

    by: str = "mean"
    seed: int = 0

    kind: ClassVar[str] = "ablate"

    def _check(self) -> None:
        self._choice("by", ABLATE_BY)
        self._integer("seed", 0, MAX_SEED)

    def describe(self) -> str:
        """The edit in a few words."""
        how = {"mean": "by its mean", "zero": "by zero", "resample": f"by other examples' values (seed {self.seed})"}
        return f"ablate {self._place} {how[self.by]}"


@dataclass(frozen=True)
class ScaleActivation(ActivationEdit):
    """Multiply by a factor; 1 changes nothing."""

    factor: float = 1.0

    kind: ClassVar[str] = "scale_activation"

    def _check(self) -> None:
        self._number("factor")

    def describe(self) -> str:
        """The edit in a few words."""
        return f"scale the activation {self._place} by {self.factor:g}"


@dataclass(frozen=True)
class ClampActivation(ActivationEdit):
    """Keep the value within [low, high]; None leaves that side open."""

    low: float | None = None
    high: float | None = None

    kind: ClassVar[str] = "clamp_activation"

    def _check(self) -> None:
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                self._number(name)
        if self.low is None and self.high is None:
            raise UsageError("clamp_activation should have a low or a high end; found neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise UsageError(f"low of clamp_activation should not exceed high; found {self.low:g} and {self.high:g}")

    def describe(self) -> str:
        """The edit in a few words."""
        ends = (("at least", self.low), ("at most", self.high))
        return f"clamp {self._place} to {' and '.join(f'{word} {end:g}' for word, end in ends if end is not None)}"


@dataclass(frozen=True)
class Patch(ActivationEdit):
    """Put in the value that the node has for another input, at another step, or with another run's weights.

    Attributes:
        example: number of the recorded example; None is the input at hand.
        step: of the weights; None is the step at hand.
        run: id of the run that the weights are of; "" is the run itself.
    """

    example: int | None = None
    step: int | None = None
    run: str = ""

    kind: ClassVar[str] = "patch"

    def _check(self) -> None:
        if self.example is not None:
            self._integer("example")
        if self.step is not None:
            self._integer("step", 0, 2**62)
        self._text("run", empty=True)
        if self.run and self.step is None:
            raise UsageError(f"a patch from run {self.run!r} should name the step; found none")
        if self.example is None and self.step is None:
            raise UsageError("a patch should come from another example, step or run; found none of them")

    def describe(self) -> str:
        """The edit in a few words."""
        parts = [f"example {self.example}"] if self.example is not None else []
        parts += [f"step {self.step:,}"] if self.step is not None else []
        parts += [f"run {self.run}"] if self.run else []
        return f"patch {self._place} from {', '.join(parts)}"
