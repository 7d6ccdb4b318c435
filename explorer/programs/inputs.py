"""What a program is given, checked against what the model took when it was captured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from explorer.errors import ProgramError
from explorer.storage.program import Input, Program

Value = Any


def match_inputs(program: Program, inputs: Sequence[Value] | Mapping[str, Value]) -> list[Value]:
    """The inputs in the program's order.

    Args:
        program: whose inputs they are.
        inputs: by path, or in the order of `program.inputs`; what was no tensor at capture may be left out.

    Raises:
        ProgramError: one is missing, is unknown, or has another dtype, number of dimensions or fixed size.
    """
    by_path = inputs if isinstance(inputs, Mapping) else _by_order(program, inputs)
    known = [found.path for found in program.inputs]
    unknown = [path for path in by_path if path not in known]
    if unknown:
        raise ProgramError(f"the model has no input {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    sizes: dict[str, tuple[int, str]] = {}
    return [_matched(program, found, by_path, sizes) for found in program.inputs]


def _by_order(program: Program, inputs: Sequence[Value]) -> dict[str, Value]:
    tensors = [found for found in program.inputs if found.dtype]
    taken = tensors if len(inputs) == len(tensors) else program.inputs
    if len(inputs) != len(taken):
        raise ProgramError(f"the model takes {len(program.inputs)} inputs; found {len(inputs)}")
    return {found.path: value for found, value in zip(taken, inputs, strict=True)}


def _matched(program: Program, found: Input, given: Mapping[str, Value], sizes: dict[str, tuple[int, str]]) -> Value:
    if not found.dtype:
        return _plain(found, given)
    value = given.get(found.path)
    if not isinstance(value, Tensor):
        what = "none" if value is None else f"a {type(value).__name__}"
        raise ProgramError(f"the input {found.path} should be a tensor of {found.dtype}; found {what}")
    _check_dtype(found, value)
    _check_shape(program, found, value, sizes)
    return value


def _plain(found: Input, given: Mapping[str, Value]) -> Value:
    value = given.get(found.path, found.value)
    if isinstance(value, Tensor) or value != found.value:
        raise ProgramError(
            f"the input {found.path} was {found.value!r} when the model was recorded and is part of the program; "
            f"found {'a tensor' if isinstance(value, Tensor) else repr(value)}"
        )
    return value


def _check_dtype(found: Input, value: Tensor) -> None:
    wanted = getattr(torch, found.dtype, None)
    if value.dtype == wanted:
        return
    # Any floating point number will do where there was one: half precision inputs are tried out on purpose.
    if not (isinstance(wanted, torch.dtype) and wanted.is_floating_point and value.is_floating_point()):
        dtype = str(value.dtype).removeprefix("torch.")
        raise ProgramError(f"the input {found.path} should be {found.dtype}; found {dtype}")


def _check_shape(program: Program, found: Input, value: Tensor, sizes: dict[str, tuple[int, str]]) -> None:
    if value.dim() != len(found.shape):
        raise ProgramError(
            f"the input {found.path} should have {len(found.shape)} dimensions {_shape_text(found)}; found "
            f"{tuple(value.shape)}"
        )
    for dim, (wanted, size) in enumerate(zip(found.shape, value.shape, strict=True)):
        place = f"dimension {dim} of the input {found.path}"
        if isinstance(wanted, int):
            if size != wanted:
                what = "which was fixed when the model was recorded"
                raise ProgramError(f"{place} should have the size {wanted}, {what}; found {size}")
            continue
        low, high = program.symbols.get(wanted, (0, None))
        if size < low or (high is not None and size > high):
            reach = f"at least {low}" if high is None else f"{low} to {high}" if low != high else str(low)
            raise ProgramError(f"{place} should have a size of {reach}, as the model was recorded; found {size}")
        first, where = sizes.setdefault(wanted, (size, place))
        if first != size:
            raise ProgramError(f"{place} should have the size {first}, as {where}; found {size}")


def _shape_text(found: Input) -> str:
    return "(" + ", ".join("any" if isinstance(dim, str) else str(dim) for dim in found.shape) + ")"
