"""Where a program has its examples: the batch's dimension of a node's value, and whether one example can be run."""

from __future__ import annotations

from explorer.storage.program import Program, Shape


def batch_dim(program: Program, shape: Shape | None) -> int:
    """The dimension of a value that counts the examples; 0 where its shape does not tell another one.

    Attention and recurrent layers hold values as [T, B, D], flattened signals are [1, B, T]: there dimension 0 is none.
    Only sizes that may vary are told apart, by their names; a fixed number can be met by chance.
    """
    batches = {found.shape[0] for found in program.inputs if found.dtype and found.shape}
    places = [dim for dim, size in enumerate(shape or ()) if isinstance(size, str) and size in batches]
    return places[0] if len(places) == 1 else 0


def takes_one(program: Program) -> bool:
    """Whether one example alone can be run; otherwise the captured size of the batch is fixed, or at least two."""
    return all(_takes_one(program, found.shape) for found in program.inputs if found.dtype)


def _takes_one(program: Program, shape: Shape) -> bool:
    if not shape:
        return False
    first = shape[0]
    return first == 1 if isinstance(first, int) else program.symbols.get(first, (0, None))[0] <= 1
