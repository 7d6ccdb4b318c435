"""Which operators a program may call, and how their names become functions: a positive list, see `allowed`.

Allowed are operators of PyTorch that it tags as core or pointwise, and the listed ones, as long as they neither write
into their arguments nor take a place to write to. In-place forms are allowed for tapes only, whose inputs and weights
the interpreter copies. No name is evaluated, imported or formatted into code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import torch

from explorer.errors import ProgramError
from explorer.programs import sizes
from explorer.programs.allowed import EMPTY, IN_PLACE, LISTED, REFUSED, STATISTICS

COND: Final = "cond"
"""The one operator that holds graphs of its own."""

_ON_NUMBERS: Final = frozenset(("_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size"))
_RUNNING: Final = (3, 4)  # places of the mean and the variance among the arguments of STATISTICS
_TRAINS: Final = 5
_GOOD_TAGS: Final = {torch.Tag.core, torch.Tag.pointwise}


class OperatorNotAllowed(ProgramError):
    """The program calls something that is not on the list."""


class OperatorUnknown(ProgramError):
    """The operator is allowed, but this version of PyTorch does not have it."""


@functools.cache
def resolve(name: str, *, in_place: bool = False) -> Callable[..., Any]:
    """The function of an operator's name, such as `aten.linear.default`; `in_place` allows those that a tape may use.

    Raises:
        OperatorNotAllowed: it is not on the list.
        OperatorUnknown: it may be, but this PyTorch has none of that name.
    """
    if name in sizes.FUNCTIONS:
        return sizes.FUNCTIONS[name]
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "aten" or not _is_listed(parts[1], in_place=in_place):
        raise OperatorNotAllowed(_refusal(name))
    _, packet_name, overload = parts
    packet = getattr(torch.ops.aten, packet_name, None)
    found = getattr(packet, overload, None) if not overload.startswith("_") else None
    if found is None:
        raise OperatorUnknown(
            f"the operator {name[:100]} is not in PyTorch {torch.__version__}: the run was recorded with another one"
        )
    if not isinstance(found, torch._ops.OpOverload) or not _is_safe(found, packet_name, in_place):
        raise OperatorNotAllowed(_refusal(name))
    if packet_name in EMPTY:
        return _Zeros(found)
    return _KeepsStatistics(found) if packet_name in STATISTICS else found


class _Zeros:
    """An operator that would give memory as it was left, with zeros in it."""

    def __init__(self, empty: Callable[..., Any]) -> None:
        self._empty = empty

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return self._empty(*args, **kwargs).zero_()


class _KeepsStatistics:
    """A norm that writes into its running statistics when it trains, which its schema does not say.

    Those are the weights of a snapshot, which the next question reads, too: it is given copies to write into.
    """

    def __init__(self, norm: Callable[..., Any]) -> None:
        self._norm = norm

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if len(args) > _TRAINS and args[_TRAINS] is False:
            return self._norm(*args, **kwargs)
        copied = (_copy(arg) if place in _RUNNING else arg for place, arg in enumerate(args))
        return self._norm(*copied, **{name: _copy(arg) for name, arg in kwargs.items()})


def _copy(value: Any) -> Any:  # noqa: ANN401 - any argument
    return value.clone() if isinstance(value, torch.Tensor) else value


def name_of(target: object) -> str | None:
    """The name of a function in a graph, or None for one that is not on the list; the inverse of `resolve`."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    try:
        return sizes.NAMES.get(target)
    except TypeError:  # something that cannot be a key
        return None


def writes(function: Callable[..., Any]) -> bool:
    """Whether the operator writes into an argument."""
    return isinstance(function, torch._ops.OpOverload) and bool(function._schema.is_mutable)


def is_random(function: Callable[..., Any]) -> bool:
    """Whether the operator draws random numbers."""
    return isinstance(function, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in function.tags


def _is_listed(packet_name: str, *, in_place: bool) -> bool:
    if packet_name.endswith("_backward") or packet_name in REFUSED:
        return False
    if packet_name in LISTED or packet_name in EMPTY:
        return True
    if packet_name in IN_PLACE:
        return in_place
    return _is_tagged(packet_name)


@functools.cache
def _is_tagged(packet_name: str) -> bool:
    packet = getattr(torch.ops.aten, packet_name, None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return False
    return any(_GOOD_TAGS & set(getattr(packet, overload).tags) for overload in _overloads(packet))


def _overloads(packet: torch._ops.OpOverloadPacket) -> list[str]:
    names: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    return names


def _is_safe(found: torch._ops.OpOverload[..., Any], packet_name: str, in_place: bool) -> bool:
    schema = found._schema
    if any(argument.is_out for argument in schema.arguments):
        return False
    # Forms without tensors are TorchScript's own, of texts, lists and dicts.
    kinds = (str(part.type) for part in (*schema.arguments, *schema.returns))
    if packet_name not in _ON_NUMBERS and not any("Tensor" in kind for kind in kinds):
        return False
    return not schema.is_mutable or (in_place and packet_name in IN_PLACE)


def _refusal(name: str) -> str:
    return (
        f"the program calls {name[:100]!r}, which is not on the list of operators that may run here; the code that it "
        "was made of can, with --factory"
    )
