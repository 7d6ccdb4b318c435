"""Where an edit works: `fc.weight[3]` among the weights, `unit:3,5` within the value of a node.

A weight's target is a tensor's name, a module's path, or a tensor's name with an index: `fc.weight[3]` is row 3,
`fc.weight[:,2]` is column 2, `fc.weight[3,2]` is one element. The empty text is the whole model.

A part of a node's value is `unit:3,5` (features; the last dimension), `channel:0` (dimension 1), `position:4` (of a
sequence) or `head:2/12` (the third of 12 heads, where their features lie side by side; `head:2` where heads have a
dimension of their own). The empty text is the whole value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from explorer.errors import UsageError
from explorer.inference.edits.kinds.fields import MAX_INDEX, MAX_NAME, short, text

MAX_INDICES: Final = 256
_INDEX = re.compile(r"(?P<name>.+)\[(?P<index>(?:\d{1,20}|:)(?:,(?:\d{1,20}|:)){0,15})\]", re.ASCII)
_PART = re.compile(r"(unit|channel|position|head):(\d{1,10}(?:,\d{1,10})*)(?:/(\d{1,5}))?", re.ASCII)

PartKind = Literal["unit", "channel", "position", "head"]


@dataclass(frozen=True, slots=True)
class WeightTarget:
    """A place among the weights.

    Attributes:
        name: of a tensor, or the path of a module; "" is the whole model.
        index: one entry a leading dimension: a number, or None for all of it; () is the whole tensor.
    """

    name: str
    index: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a node's value; `num_heads` is 0 where heads have a dimension of their own."""

    kind: PartKind
    indices: tuple[int, ...]
    num_heads: int = 0


def parse_target(found: str) -> WeightTarget:
    """Read a target. Raises UsageError."""
    text(found, "a target", empty=True)
    match = _INDEX.fullmatch(found)
    if match is None:
        return WeightTarget(found)
    index = tuple(None if part == ":" else _bounded(part, found) for part in match["index"].split(","))
    return WeightTarget(match["name"], index)


def parse_part(found: str) -> Part | None:
    """Read a part; None is the whole value. Raises UsageError."""
    if found == "":
        return None
    match = _PART.fullmatch(found) if isinstance(found, str) and len(found) <= MAX_NAME * 8 else None
    if match is None:
        raise UsageError(
            "a part should read unit:3 or unit:3,5, channel:0, position:4, head:2/12 or be empty for the whole value; "
            f"found {short(found)}"
        )
    kind, listed, heads = match.groups()
    indices = tuple(_bounded(index, found) for index in listed.split(","))
    if len(indices) > MAX_INDICES or len(set(indices)) != len(indices):
        raise UsageError(f"a part should name 1 to {MAX_INDICES} different indices; found {short(found)}")
    if heads is not None and (kind != "head" or not max(indices) < int(heads)):
        raise UsageError(f"only heads are numbered as in head:2/12, from 0 to 11; found {short(found)}")
    return Part(cast(PartKind, kind), indices, int(heads or 0))


def describe_part(found: str) -> str:
    """A part in words: ` (units 3, 5)`; nothing for the whole value."""
    part = parse_part(found)
    if part is None:
        return ""
    listed = ", ".join(map(str, part.indices[:8])) + (", ..." if len(part.indices) > 8 else "")
    of = f" of {part.num_heads}" if part.num_heads else ""
    return f" ({part.kind}{'s' if len(part.indices) > 1 else ''} {listed}{of})"


def describe_target(found: str) -> str:
    """A target in words."""
    return found or "the whole model"


def _bounded(digits: str, where: str) -> int:
    index = int(digits)
    if index > MAX_INDEX:
        raise UsageError(f"an index should be at most {MAX_INDEX:,}; found {short(where)}")
    return index
