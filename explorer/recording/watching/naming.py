"""What the parts of a model are called, and which of them are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from explorer.errors import UsageError

_PARAMETRIZATIONS = "parametrizations"
ROOT_NAME = "model"
"""What the model itself is called where its own output is meant."""

# Modules that hold another one under this name and add nothing to it that we would show.
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}


@dataclass(frozen=True)
class ModulePlace:
    """A module of the model.

    Attributes:
        name: fully qualified, without the prefixes of wrappers; "" for the model itself.
        module: the module.
        order: position in a walk through the model.
        is_leaf: its output can be watched: it holds no module but for parametrizations of its own weights, such as
            weight_norm's, or is a `MultiheadAttention`, which never calls the one that it holds.
        is_compiled: torch.compile or TorchScript runs it, so hooks within are not called.
    """

    name: str
    module: nn.Module
    order: int
    is_leaf: bool
    is_compiled: bool

    @property
    def type_name(self) -> str:
        """The class's name."""
        return type(self.module).__name__


@dataclass(frozen=True)
class ParameterPlace:
    """A parameter of the model.

    Attributes:
        name: fully qualified, without the prefixes of wrappers.
        parameter: the parameter.
        owner: the module that holds it.
        order: position in `model.named_parameters()`.
        tied_to: the name under which the same parameter was met first; it is recorded there only.
    """

    name: str
    parameter: nn.Parameter
    owner: ModulePlace
    order: int
    tied_to: str | None


def list_modules(model: nn.Module, prefix: str = "") -> list[ModulePlace]:
    """Every module once, wrappers left out, in the order of `model.named_modules()`."""
    found: list[ModulePlace] = []
    seen: set[int] = set()

    def walk(module: nn.Module, name: str, is_compiled: bool, is_of_weight: bool) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        type_name = type(module).__name__
        is_compiled |= type_name in ("OptimizedModule", "RecursiveScriptModule", "TopLevelTracedModule")
        is_compiled |= getattr(module, "_compiled_call_impl", None) is not None
        children = list(module.named_children())
        inner = _WRAPPERS.get(type_name)
        if inner is None or all(child != inner for child, _ in children):
            inner = None
            is_leaf = not is_of_weight and all(
                child == _PARAMETRIZATIONS or isinstance(module, nn.MultiheadAttention) for child, _ in children
            )
            found.append(ModulePlace(name, module, len(found), is_leaf, is_compiled))
        for child, part in children:
            below = name if child == inner else f"{name}.{child}" if name else child
            walk(part, below, is_compiled, is_of_weight or isinstance(part, ParametrizationList))

    walk(model, prefix, False, False)
    return found


def list_parameters(modules: Iterable[ModulePlace]) -> list[ParameterPlace]:
    """Every parameter under each of its names, in the order of `model.named_parameters()`."""
    found: list[ParameterPlace] = []
    first: dict[int, str] = {}
    for place in modules:
        for short, parameter in place.module.named_parameters(recurse=False, remove_duplicate=False):
            name = f"{place.name}.{short}" if place.name else short
            known = first.setdefault(id(parameter), name)
            found.append(ParameterPlace(name, parameter, place, len(found), None if known == name else known))
    return found


class Choice:
    """Names chosen by shell patterns: those that match one of `include` and none of `exclude`.

    Raises:
        UsageError: patterns are neither text nor several texts.

    Example:
        >>> Choice("layers.*", ["*.bias"]).takes("layers.0.weight")
        True
    """

    def __init__(self, include: object, exclude: object) -> None:
        self._include = tuple(_patterns("include", include))
        self._exclude = tuple(_patterns("exclude", exclude))

    def takes(self, name: str) -> bool:
        """Whether this name is chosen."""
        chosen = any(fnmatchcase(name, pattern) for pattern in self._include)
        return chosen and not any(fnmatchcase(name, pattern) for pattern in self._exclude)


def _patterns(what: str, patterns: object) -> Iterator[str]:
    texts = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(texts, Iterable):
        raise UsageError(f'{what} should be a pattern such as "layers.*" or several; found {patterns!r}')
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f'{what} should hold patterns such as "layers.*"; found {text!r}')
        yield text
