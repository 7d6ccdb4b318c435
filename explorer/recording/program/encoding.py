"""Values of PyTorch's graphs as the arguments, shapes and names of a program's document."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WRAPPER: Final = "model"
"""The name of the user's model inside `Stage`."""
MAX_SIZE_CHARS: Final = 200
_FRAME: Final = re.compile(r'\s*File "(.*)", line (\d+), in ')


class CannotEncode(ValueError):
    """This cannot be written down as data; another route may avoid it."""


def encode_argument(value: Any, name_of: Callable[[Any], str | None]) -> Any:  # noqa: ANN401 - any argument
    """An argument as `storage.program` describes it; `name_of` gives the node's name of what has one, else None.

    Raises:
        CannotEncode: there is no such form.
    """
    name = name_of(value)
    if name is not None:
        return {"node": name}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list | tuple):
        return [encode_argument(part, name_of) for part in value]
    if isinstance(value, slice):
        return {"slice": [encode_argument(part, name_of) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, complex):
        return {"complex": [encode_argument(part, name_of) for part in (value.real, value.imag)]}
    if isinstance(value, torch.device):
        return {"device": True}
    for key, kind in (("dtype", torch.dtype), ("layout", torch.layout), ("memory_format", torch.memory_format)):
        if isinstance(value, kind):
            return {key: str(value).removeprefix("torch.")}
    raise CannotEncode(f"an argument is a {type(value).__name__}")


def value_facts(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """`dtype` and `shape` of a node's value, as members of its entry; nothing where it is no single tensor."""
    if not isinstance(value, Tensor):
        return {}
    shape = [dim if isinstance(dim, int) else str(dim)[:MAX_SIZE_CHARS] for dim in value.shape]
    return {"dtype": str(value.dtype).removeprefix("torch."), "shape": shape}


def source_of(trace: str | None) -> str:
    """`file.py:55`, the last line of a stack trace that is not PyTorch's; "" when there is none."""
    found = ""
    for line in (trace or "").splitlines():
        match = _FRAME.match(line)
        if match and is_users(match[1]):
            found = place_of(match[1], int(match[2]))
    return found


def is_users(filename: str) -> bool:
    """Whether a line of Python is neither PyTorch's nor made up."""
    return "/torch/" not in filename.replace("\\", "/") and not filename.startswith("<")


def place_of(filename: str, line: int) -> str:
    """`file.py:55`, without the folder: that would tell strangers about the machine."""
    return f"{filename.replace(chr(92), '/').rpartition('/')[2]}:{line}"


def user_name(name: str) -> str:
    """A name inside `Stage` as the user knows it."""
    return "" if name == WRAPPER else name.removeprefix(WRAPPER + ".")


class Modules:
    """The modules that calls belong to, each listed once."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._index: dict[tuple[str, str, int], int] = {}

    def index(self, path: str, kind: str, call: int) -> int:
        """The index of a module's call, which is listed if it is new."""
        key = (path, kind, call)
        if key not in self._index:
            self._index[key] = len(self.entries)
            entry = {"path": path, "type": kind}
            self.entries.append({**entry, "call": call} if call else entry)
        return self._index[key]


def input_paths(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """The path of each leaf of the inputs, such as `args[0]` or `kwargs['mask']`, in the order of `leaves`."""
    paths = []
    for path, _ in pytree.tree_flatten_with_path((list(args), dict(kwargs)))[0]:
        text = pytree.keystr(path)
        paths.append(("args" if text.startswith("[0]") else "kwargs") + text[3:])
    return paths


def leaves(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The leaves of the inputs."""
    return pytree.tree_leaves((list(args), dict(kwargs)))


def output_paths(value: Any) -> list[str]:  # noqa: ANN401
    """The path of each leaf of what a model returns, such as `['logits']`; "" for a single value."""
    return [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(value)[0]]
