"""Which tensor of one model belongs to which of another: by name and shape, never by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Shape = tuple[int, ...]


class Mismatch(NamedTuple):
    """Two tensors that were to be compared and cannot be.

    Attributes:
        a, b: their names.
        shape_a, shape_b: None where there is no tensor of that name.
        reason: one sentence.
    """

    a: str
    b: str
    shape_a: Shape | None
    shape_b: Shape | None
    reason: str


class Alignment(NamedTuple):
    """Every tensor of both models is in exactly one of these, in the order given.

    Attributes:
        pairs: (name in a, name in b) of tensors that can be compared element by element.
        only_a, only_b: names without a partner.
        mismatched: partners that cannot be compared.
    """

    pairs: tuple[tuple[str, str], ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]


def align(a: Mapping[str, Shape], b: Mapping[str, Shape], manual: Mapping[str, str] | None = None) -> Alignment:
    """Pair the tensors of two models.

    Tensors of one name are partners, unless `manual` gives either of them another one.

    Args:
        a: name to shape of one model's tensors.
        b: of the other's.
        manual: name in a to name in b. A pair that cannot be made, because a name is unknown or was given before, is
            among `mismatched` and takes no tensor that exists from its own partner.

    >>> found = align({"w": (2, 3), "b": (2,)}, {"w": (2, 4), "bias": (2,)}, {"b": "bias"})
    >>> found.pairs, found.mismatched[0].reason
    ((('b', 'bias'),), 'shapes differ: 2 x 3 and 2 x 4')
    """
    mismatched: list[Mismatch] = []
    partner: dict[str, str] = {}
    taken: set[str] = set()
    for name, other in (manual or {}).items():
        reason = _refusal(name, other, a, b, taken)
        if reason:
            mismatched.append(Mismatch(name, other, a.get(name), b.get(other), reason))
        else:
            partner[name] = other
            taken.add(other)
    for name in a:
        if name not in partner and name in b and name not in taken:
            partner[name] = name
            taken.add(name)
    pairs: list[tuple[str, str]] = []
    for name in a:
        if name not in partner:
            continue
        other = partner[name]
        if tuple(a[name]) == tuple(b[other]):
            pairs.append((name, other))
        else:
            reason = f"shapes differ: {_text(a[name])} and {_text(b[other])}"
            mismatched.append(Mismatch(name, other, a[name], b[other], reason))
    return Alignment(
        pairs=tuple(pairs),
        only_a=tuple(name for name in a if name not in partner),
        only_b=tuple(name for name in b if name not in taken),
        mismatched=tuple(mismatched),
    )


def _refusal(name: str, other: str, a: Mapping[str, Shape], b: Mapping[str, Shape], taken: set[str]) -> str:
    """Why a pair cannot be made; empty when it can."""
    missing = [
        f"the {which} model has no tensor {key!r}"
        for which, key, names in (("first", name, a), ("second", other, b))
        if key not in names
    ]
    if missing:
        return " and ".join(missing)
    return f"{other!r} was given to another tensor already" if other in taken else ""


def _text(shape: Shape) -> str:
    return " x ".join(str(size) for size in shape) or "one number"
