"""The parameters and modules that are watched, as the model is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.optim import Optimizer

from explorer.recording.watching.naming import (
    ROOT_NAME,
    Choice,
    ModulePlace,
    ParameterPlace,
    list_modules,
    list_parameters,
)

IN_COMPILED_REGION = "it runs inside a compiled region, where no hook is called"


@dataclass(frozen=True)
class Members:
    """What belongs together.

    Attributes:
        modules: every module.
        parameters: every parameter under every name.
        of_optimizer: those that are watched, by the optimizer that changes them; each once.
        of_none: those that are watched and that no optimizer changes.
        groups: id of a parameter to the numbers of its optimizer and of the group within.
        leaves: modules whose outputs can be watched.
        hidden: modules whose outputs would be watched but for a compiled region around them.
    """

    modules: list[ModulePlace]
    parameters: list[ParameterPlace]
    of_optimizer: list[list[ParameterPlace]]
    of_none: list[ParameterPlace]
    groups: dict[int, tuple[int, int]]
    leaves: list[ModulePlace] = field(default_factory=list)
    hidden: list[ModulePlace] = field(default_factory=list)

    def optimized_first(self, index: int) -> list[ParameterPlace]:
        """What is looked at when this optimizer steps: its own, and with the first one those that no one changes."""
        return self.of_optimizer[index] + (self.of_none if index == 0 else [])


def find_members(model: nn.Module, prefix: str, optimizers: Sequence[Optimizer], choice: Choice) -> Members:
    """Walk through the model and the optimizers' groups; some milliseconds for thousands of modules."""
    modules = list_modules(model, prefix)
    parameters = list_parameters(modules)
    groups: dict[int, tuple[int, int]] = {}
    for index, optimizer in enumerate(optimizers):
        for number, group in enumerate(optimizer.param_groups):
            for parameter in group["params"]:
                groups.setdefault(id(parameter), (index, number))
    of_optimizer: list[list[ParameterPlace]] = [[] for _ in range(max(1, len(optimizers)))]
    of_none: list[ParameterPlace] = []
    for place in parameters:
        if place.tied_to is None and choice.takes(place.name):
            found = groups.get(id(place.parameter))
            (of_none if found is None else of_optimizer[found[0]]).append(place)
    chosen = [place for place in modules if place.is_leaf and choice.takes(place.name or ROOT_NAME)]
    return Members(
        modules,
        parameters,
        of_optimizer,
        of_none,
        groups,
        [place for place in chosen if not place.is_compiled],
        [place for place in chosen if place.is_compiled],
    )
