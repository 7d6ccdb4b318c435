"""A user's own function that makes a model, named on the command line as `package.module:function`. It runs their code.

The name comes from the command line alone: never from a run, a log or a link.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from explorer.errors import ProgramError, UsageError

if TYPE_CHECKING:
    from torch import nn

_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True)
class Factory:
    """Which function, and the folder whose modules it may be among.

    Attributes:
        name: `package.module:function`.
        folder: where the command was given; searched last, so that it shadows no installed package.
    """

    name: str
    folder: str

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise UsageError(f"a factory is named package.module:function; found {self.name[:80]!r}")

    def make(self, config: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
        """Call the function: with the run's configuration if it takes an argument, else without any.

        Returns:
            The module, and example inputs by path (`args[0]`, `kwargs['mask']`): empty where it gave none.

        Raises:
            ProgramError: it cannot be imported or called, or gives something else; the message says which.
        """
        from torch import nn

        module, _, name = self.name.partition(":")
        if self.folder not in sys.path:
            sys.path.append(self.folder)
        try:
            function = getattr(importlib.import_module(module), name)
            found = function(dict(config)) if _takes_config(function) else function()
        except Exception as error:  # whatever the user's code raises
            text = (str(error).strip().splitlines() or [""])[0][:300]
            raise ProgramError(f"the factory {self.name} fails with {type(error).__name__}: {text}") from error
        examples: Any = ()
        if isinstance(found, tuple) and len(found) == 2:
            found, examples = found
        if not isinstance(found, nn.Module):
            raise ProgramError(
                f"the factory {self.name} should return a torch.nn.Module, or (module, example_inputs); found a "
                f"{type(found).__name__}"
            )
        return found, _by_path(examples)


def _takes_config(function: Any) -> bool:  # noqa: ANN401 - a callable
    wanted = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(
        each.kind in wanted and each.default is each.empty for each in inspect.signature(function).parameters.values()
    )


def _by_path(examples: Any) -> dict[str, Any]:  # noqa: ANN401 - a tensor, a tuple or a mapping
    if isinstance(examples, Mapping):
        return {f"kwargs[{str(name)!r}]": value for name, value in examples.items()}
    values = examples if isinstance(examples, tuple | list) else (examples,)
    return {f"args[{place}]": value for place, value in enumerate(values)}
