"""Arithmetic with sizes: the Python functions that a graph of PyTorch calls on numbers, and on nothing else here."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Final

import torch

from explorer.errors import ProgramError

Number = bool | int | float
_LIMIT: Final = 2**64
_MAX_EXPONENT: Final = 64


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Number]:
    """The function, for numbers within 64 bits: others could grow until nothing else runs."""

    @functools.wraps(function)
    def checked(*args: Any) -> Number:  # noqa: ANN401
        for value in args:
            if not isinstance(value, bool | int | float):
                raise ProgramError(f"{function.__name__} is for sizes; found a {type(value).__name__}")
        result: Number = function(*args)
        if isinstance(result, int) and abs(result) > _LIMIT:
            raise ProgramError(f"{function.__name__} gives a number of more than 64 bits")
        return result

    return checked


def _power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > _MAX_EXPONENT:
        raise ProgramError(f"pow has the exponent {exponent}; at most {_MAX_EXPONENT} was expected")
    result: Number = base**exponent
    return result


def _sum(parts: object) -> Number:
    if not isinstance(parts, list | tuple):
        raise ProgramError(f"sym_sum is for a list of sizes; found a {type(parts).__name__}")
    total: Number = functools.reduce(FUNCTIONS["operator.add"], parts, 0)
    return total


def _choose(condition: Number, if_true: Number, if_false: Number) -> Number:
    return if_true if condition else if_false


def _item(parts: object, index: object) -> object:
    if not isinstance(parts, list | tuple) or type(index) is not int:
        raise ProgramError(f"getitem takes a part of a list; found a {type(parts).__name__}")
    return parts[index]


_OPERATORS: Final = (
    *("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pos"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
)
_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    **{
        f"operator.{name}": getattr(operator, name)
        for name in [
            "add",
            "sub",
            "mul",
            "floordiv",
            "truediv",
            "mod",
            "neg",
            "pos",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
            "and_",
            "or_",
            "not_",
        ]
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
    "operator.pow": _power,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_ite": _choose,
    "torch._sym_sqrt": math.sqrt,
    "builtins.round": round,
}
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    **{name: _of_numbers(function) for name, function in _ARITHMETIC.items()},
    "torch.sym_sum": _sum,
    "operator.getitem": _item,
}
"""What a program may call by these names."""


def _target(name: str) -> object:
    namespace, _, function = name.partition(".")
    return getattr({"operator": operator, "math": math, "torch": torch}.get(namespace), function, None)


NAMES: Final[dict[object, str]] = {
    target: name for name in FUNCTIONS if (target := round if name == "builtins.round" else _target(name)) is not None
}
"""The function that a graph of PyTorch calls, to the name that a program has for it."""
