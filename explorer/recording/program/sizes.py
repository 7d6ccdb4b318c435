"""Which sizes of the inputs may vary: tried out, one size after the other, against the model itself.

Export says which sizes it left open, but is too strict for some models (an LSTM's number of steps) and could be too
generous for others. So each size is changed by one, in all inputs that share it, and program and model must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from explorer.errors import ProgramError

Run = Callable[[Sequence[Any]], Mapping[str, Any]]
Range = list[int | None]


def settle_sizes(
    symbols: Mapping[str, Range],
    inputs: Sequence[Mapping[str, Any]],
    leaves: Sequence[Any],
    run_model: Run,
    run_program: Run,
    agree: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
) -> dict[str, Range]:
    """The range of each size, by what was found out.

    Args:
        symbols: name of a size to (lowest, highest or None), as export has it.
        inputs: entries of the document, with `shape`.
        leaves: the example inputs, in the same order.
        run_model, run_program: outputs by path for inputs like `leaves`; both may raise.
        agree: whether two outputs are the same.

    Returns:
        Open ranges for sizes that were seen to vary, export's where the model itself refuses another size, and the
        example's size alone where program and model differ.
    """
    settled: dict[str, Range] = {}
    for symbol, (low, high) in symbols.items():
        places = _places(symbol, inputs, leaves)
        size = leaves[places[0][0]].shape[places[0][1]] if places else 0
        changed = _changed(leaves, places, size) if places and size else None
        if changed is None:
            settled[symbol] = [low, high]
            continue
        try:
            wanted = run_model(changed)
        except Exception:  # the model's own errors: it does not take another size
            settled[symbol] = [low, high]
            continue
        try:
            same = agree(run_program(changed), wanted)
        except (ProgramError, RuntimeError):
            same = False
        settled[symbol] = [min(low or 0, 1), None if high is None or high == low else high] if same else [size, size]
    return settled


def _places(symbol: str, inputs: Sequence[Mapping[str, Any]], leaves: Sequence[Any]) -> list[tuple[int, int]]:
    """(input, dimension) of each use of a size; [] when one is computed from it, so that it cannot be changed alone."""
    found = []
    for index, entry in enumerate(inputs):
        for dim, name in enumerate(entry.get("shape", ())):
            if name == symbol and isinstance(leaves[index], Tensor):
                found.append((index, dim))
            elif isinstance(name, str) and symbol in name and name != symbol and not name.isalnum():
                return []
    return found


def _changed(leaves: Sequence[Any], places: Sequence[tuple[int, int]], size: int) -> list[Any]:
    """The inputs with one less of a size, or with one more where there is only one."""
    changed = list(leaves)
    for index, dim in places:
        leaf = changed[index]
        if size > 1:
            changed[index] = leaf.narrow(dim, 0, size - 1).clone()
        else:
            changed[index] = torch.cat([leaf, leaf], dim)
    return changed
