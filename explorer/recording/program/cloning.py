"""A stand-in for the user's model that may be taken apart: it shares the tensors and nothing else.

The model itself is never touched: its mode, hooks, gradients and attributes stay as they are.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)
# Hooks by which PyTorch itself computes a weight (the older weight_norm and spectral_norm): part of the model.
_OWN_HOOKS = "torch.nn.utils"
_PLAIN = (Tensor, int, float, bool, str, type(None), list, tuple)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside `torch.compile`, `DataParallel` and `DistributedDataParallel`."""
    while True:
        if isinstance(inner := model.__dict__.get("_modules", {}).get("_orig_mod"), nn.Module):
            model = inner
        elif isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        else:
            return model


def stand_in(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode with the same parameters and buffers, without hooks.

    Raises whatever copying the model raises, such as for members that cannot be copied.
    """
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():  # a trainer that a module holds (Lightning) is no part of it
        for name in ("_trainer", "trainer", "_fabric"):
            held = module.__dict__.get(name)
            if held is not None and not isinstance(held, nn.Module | Tensor):
                shared[id(held)] = None
    clone = copy.deepcopy(model, shared)
    for module in clone.modules():
        for name in _HOOKS:
            hooks = module.__dict__.get(name)
            if hooks:
                own = {key: hook for key, hook in hooks.items() if _is_own(hook)}
                hooks.clear()
                hooks.update(own)
        # Frameworks wrap `forward` on the object, around the original module.
        module.__dict__.pop("forward", None)
    return clone.eval()


def _is_own(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith(_OWN_HOOKS)


class Stage(nn.Module):
    """Calls a model with positional and named inputs, and returns plain containers of tensors and numbers."""

    def __init__(self, model: nn.Module, builders: Mapping[int | str, Callable[[Any], Any]]) -> None:
        super().__init__()
        self.model = model
        self.__dict__["builders"] = dict(builders)

    def forward(self, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - whatever the model takes and gives
        """What the model returns, without what is neither tensor, number nor text."""
        if self.builders:
            args, kwargs = list(args), dict(kwargs)
            for key, build in self.builders.items():
                if isinstance(key, int):
                    args[key] = build(args[key])
                else:
                    kwargs[key] = build(kwargs[key])
        return plain(self.model(*args, **kwargs))


def stage(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Stage, tuple[Any, ...], dict[str, Any]]:
    """A `Stage` over a stand-in of the model, and the inputs as plain containers.

    An input object that PyTorch does not know (a batch of a graph library, a dataclass) becomes a dict of its tensors;
    the stage builds the object again around them.
    """
    builders: dict[int | str, Callable[[Any], Any]] = {}

    def taken(key: int | str, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return dict(value)
        if isinstance(value, _PLAIN):
            return value
        found = _members(value)
        if found is None:
            return value
        tensors, build = found
        builders[key] = build
        return tensors

    plain_args = tuple(taken(index, value) for index, value in enumerate(args))
    plain_kwargs = {name: taken(name, value) for name, value in kwargs.items()}
    return Stage(stand_in(unwrap(model)), builders).eval(), plain_args, plain_kwargs


def _members(value: object) -> tuple[dict[str, Tensor], Callable[[Any], Any]] | None:
    """The tensors that an object holds, itself or one level below, and how to build it around others."""
    for owner in (value, *getattr(value, "__dict__", {}).values()):
        store = getattr(owner, "__dict__", None)
        if not isinstance(store, dict):
            continue
        tensors = {name: held for name, held in sorted(store.items()) if isinstance(held, Tensor)}
        if not tensors and isinstance(store.get("_mapping"), dict):
            store = store["_mapping"]
            tensors = {name: held for name, held in sorted(store.items()) if isinstance(held, Tensor)}
        if tensors:
            return tensors, _builder(value, owner)
    return None


def _builder(value: Any, owner: Any) -> Callable[[Any], Any]:  # noqa: ANN401
    def build(tensors: Mapping[str, Tensor]) -> Any:  # noqa: ANN401
        made = copy.copy(owner)
        if isinstance(made.__dict__.get("_mapping"), dict):
            made.__dict__["_mapping"] = {**made.__dict__["_mapping"], **tensors}
        else:
            made.__dict__.update(tensors)
        if owner is value:
            return made
        outer = copy.copy(value)
        for name, held in vars(value).items():
            if held is owner:
                outer.__dict__[name] = made
        return outer

    return build


def plain(value: Any) -> Any:  # noqa: ANN401
    """Tensors, numbers and texts in dicts and lists; dataclasses and named tuples become dicts, the rest is dropped."""
    if isinstance(value, Tensor | int | float | bool | str | torch.SymInt | torch.SymFloat | torch.SymBool):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        value = dict(zip(value._fields, value, strict=True))
    elif dataclasses.is_dataclass(value) and not isinstance(value, dict | type):
        value = {member.name: getattr(value, member.name) for member in dataclasses.fields(value)}
    if isinstance(value, dict):
        found = {str(key): plain(member) for key, member in value.items()}
        return {key: member for key, member in found.items() if member is not None}
    if isinstance(value, list | tuple):
        return [member for member in map(plain, value) if member is not None]
    return None
