"""Under which names of a source the weights of a program are read. Needs no torch."""

from __future__ import annotations

from collections.abc import Container, Mapping

from explorer.storage.program import Program, Weight


def needed_weights(program: Program) -> list[Weight]:
    """The weights that a source must give: constants belong to the program."""
    return [weight for weight in program.weights.values() if weight.role != "constant"]


def tied_names(program: Program) -> dict[str, tuple[str, ...]]:
    """Of each name that has others tied to it, all of them."""
    return {name: names for names in program.ties for name in names}


def present_name(name: str, there: Container[str], tied: Mapping[str, tuple[str, ...]]) -> str | None:
    """The name under which a tensor is there: the first of those that are tied to it, so that all get the same one."""
    return next((each for each in tied.get(name, (name,)) if each in there), None)


def names_to_read(program: Program, there: Container[str]) -> list[str]:
    """What is read of a source that has these names: only what is needed, once; weights that are missing are left out.

    Of tied tensors, which it may hold under every name, one is read.
    """
    tied = tied_names(program)
    found = (present_name(weight.name, there, tied) for weight in needed_weights(program))
    return list(dict.fromkeys(name for name in found if name is not None))
