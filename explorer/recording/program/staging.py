"""A model under one way of calling it: containers in, containers of tensors, numbers and texts out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from explorer.recording.program.cloning import stand_in, unwrap

_PLAIN: Final = (Tensor, int, float, bool, str, type(None), list, tuple)


class Stage(nn.Module):
    """Calls a model with positional and named inputs, and returns plain containers of tensors and numbers."""

    def __init__(self, model: nn.Module, builders: Mapping[int | str, Callable[[Any], Any]]) -> None:
        super().__init__()
        self.model = model
        self._builders = dict(builders)

    def forward(self, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - whatever the model takes and gives
        """What the model returns, without what is neither tensor, number nor text."""
        if self._builders:
            args, kwargs = list(args), dict(kwargs)
            for key, build in self._builders.items():
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
        found = members_of(value)
        if found is None:
            return value
        tensors, build = found
        builders[key] = build
        return tensors

    plain_args = tuple(taken(index, value) for index, value in enumerate(args))
    plain_kwargs = {name: taken(name, value) for name, value in kwargs.items()}
    return Stage(stand_in(unwrap(model)), builders).eval(), plain_args, plain_kwargs


def members_of(value: object) -> tuple[dict[str, Tensor], Callable[[Any], Any]] | None:
    """The tensors that an object of no plain kind holds, or one a level below, and how to build it around others."""
    if isinstance(value, (*_PLAIN, dict)):
        return None
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
