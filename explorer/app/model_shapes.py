"""Shapes of a captured model as people write them: a size that may vary has a letter, not a number of the compiler."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from explorer.app.names import plain

if TYPE_CHECKING:
    from explorer.inference.modules import Program

Dim = int | str

_IMAGE: Final = ("N", "C", "H", "W")
_TEXT: Final = ("N", "T")
_OTHERS: Final = "ABDEFGIJKLMPQRSUVXYZ"
_SYMBOL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AROUND: Final = re.compile(r"\(\(([^()]*)\)\)")
_MAX_DIM: Final = 40


def size_names(program: Program) -> dict[str, str]:
    """Return a letter for each size that may vary: N for the batch, H and W of images, T for the length of texts.

    Letters are given in the order in which sizes appear in the inputs; the rest get the other letters, then `n1`, `n2`.
    """
    names: dict[str, str] = {}
    for found in program.inputs:
        wished = _IMAGE if len(found.shape) == 4 else _TEXT if "int" in found.dtype else _TEXT[:1]
        for place, dim in enumerate(found.shape):
            if isinstance(dim, str) and dim in program.symbols and dim not in names:
                letter = wished[place] if place < len(wished) else ""
                free = [one for one in _OTHERS if one not in names.values()]
                spare = free[0] if free else f"n{len(names)}"
                names[dim] = letter if letter and letter not in names.values() else spare
    for number, symbol in enumerate(symbol for symbol in program.symbols if symbol not in names):
        names[symbol] = f"n{number + 1}"
    return names


def dim_text(dim: Dim, names: Mapping[str, str]) -> str:
    """Return one size.

    >>> dim_text("32*((s69//2))*((s88//2))", {"s69": "H", "s88": "W"})
    '32·(H//2)·(W//2)'
    """
    if isinstance(dim, int):
        return f"{dim:,}"
    text = _SYMBOL.sub(lambda found: names.get(found[0], found[0]), dim).replace("*", "·").replace(" ", "")
    text = _AROUND.sub(r"(\1)", text)
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1]
    return plain(text, _MAX_DIM)


def shape_text(shape: Sequence[Dim] | None, names: Mapping[str, str]) -> str:
    """Return a shape; `number` for a tensor without dimensions, nothing where it is no single tensor.

    >>> shape_text(("s0", 16, "s1"), {"s0": "N", "s1": "T"}), shape_text((), {}), shape_text(None, {})
    ('N × 16 × T', 'number', '')
    """
    if shape is None:
        return ""
    return " × ".join(dim_text(dim, names) for dim in shape) or "number"


def ranges_text(program: Program, names: Mapping[str, str]) -> str:
    """Return which sizes may vary, and how far, in the order of their letters' inputs; "" when none may."""
    parts = []
    for symbol, letter in list(names.items())[:8]:
        low, high = program.symbols.get(symbol, (0, None))
        parts.append(f"{letter} {low:,} or more" if high is None else f"{letter} from {low:,} to {high:,}")
    return ", ".join(parts)
