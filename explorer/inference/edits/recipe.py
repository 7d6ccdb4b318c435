"""Recipes: a tuple of edits, in order, as plain data, as words, and as a short text for links.

A text names its version first, so that an old link is either read as it was meant or refused.

Example:
    >>> recipe = parse_recipe([{"edit": "scale", "target": "fc.weight[3]", "factor": 0.5}])
    >>> describe(recipe)
    ['scale fc.weight[3] by 0.5']
    >>> from_text(to_text(recipe)) == recipe
    True
    >>> undo(recipe)
    ()
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from explorer.errors import UsageError
from explorer.inference.edits.kinds import activations, inputs, weights
from explorer.inference.edits.kinds.fields import Edit, Plain, short

Recipe = tuple[Edit, ...]

MAX_EDITS: Final = 64
MAX_TEXT: Final = 4_000
_MAX_PLAIN_BYTES: Final = 64 * 2**10
_VERSION: Final = "1"
_TEXT = re.compile(r"([0-9]{1,4})\.([A-Za-z0-9_-]*)", re.ASCII)

KINDS: Final[Mapping[str, type[Edit]]] = {
    found.kind: found
    for found in (
        weights.ScaleWeights,
        weights.ZeroWeights,
        weights.SetWeights,
        weights.PruneWeights,
        weights.AddNoise,
        weights.RoundWeights,
        weights.TruncateRank,
        weights.ResetWeights,
        weights.TakeWeights,
        weights.InterpolateWeights,
        activations.Ablate,
        activations.ScaleActivation,
        activations.ClampActivation,
        activations.Patch,
        inputs.EditBox,
        inputs.ShiftImage,
        inputs.SetFeature,
        inputs.ReplaceToken,
        inputs.InsertToken,
        inputs.DeleteToken,
        inputs.SetTokens,
    )
}


def parse_edit(found: Any) -> Edit:  # noqa: ANN401 - foreign data
    """Read one edit from plain data. Raises UsageError."""
    if not isinstance(found, Mapping):
        raise UsageError(f"an edit should be an object with an edit's kind; found {short(found)}")
    kind = found.get("edit")
    known = KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise UsageError(f"an edit should be one of {', '.join(KINDS)}; found {short(kind)}")
    names = {field.name for field in fields(known)}
    given = {name: value for name, value in found.items() if name != "edit"}
    strange = [name for name in given if name not in names]
    if strange:
        raise UsageError(f"{kind} has the fields {', '.join(sorted(names))}; found {short(strange[0])}")
    missing = [field.name for field in fields(known) if field.default is MISSING and field.name not in given]
    if missing:
        raise UsageError(f"{kind} should have the field {missing[0]}; found {', '.join(sorted(given)) or 'none'}")
    return known(**given)


def parse_recipe(found: Any) -> Recipe:  # noqa: ANN401 - foreign data
    """Read a recipe from a list of plain edits. Raises UsageError."""
    if not isinstance(found, list | tuple):
        raise UsageError(f"a recipe should be a list of edits; found {short(found)}")
    if len(found) > MAX_EDITS:
        raise UsageError(f"a recipe should have at most {MAX_EDITS} edits; found {len(found)}")
    return tuple(edit if isinstance(edit, Edit) else parse_edit(edit) for edit in found)


def to_list(recipe: Iterable[Edit]) -> list[dict[str, Plain]]:
    """The recipe as plain data, which `parse_recipe` reads."""
    return [edit.to_dict() for edit in recipe]


def describe(recipe: Iterable[Edit]) -> list[str]:
    """Every edit in a few words, in order."""
    return [edit.describe() for edit in recipe]


def undo(recipe: Recipe) -> Recipe:
    """The recipe without its last edit."""
    return recipe[:-1]


def to_text(recipe: Recipe) -> str:
    """A recipe for a link: letters, digits, `.`, `-` and `_`; the empty recipe is "".

    Raises:
        UsageError: it would be longer than MAX_TEXT characters.
    """
    if not recipe:
        return ""
    plain = json.dumps(to_list(recipe), separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    packed = base64.urlsafe_b64encode(zlib.compress(plain, 9)).decode().rstrip("=")
    if len(packed) + 2 > MAX_TEXT or len(plain) > _MAX_PLAIN_BYTES:
        raise UsageError(f"a recipe for a link should have at most {MAX_TEXT:,} characters; found {len(packed):,}")
    return f"{_VERSION}.{packed}"


def from_text(found: str) -> Recipe:
    """Read what `to_text` wrote.

    Raises:
        UsageError: it is cut, foreign, too long, or of a newer version.
    """
    if found == "":
        return ()
    match = _TEXT.fullmatch(found) if isinstance(found, str) and len(found) <= MAX_TEXT else None
    if match is None:
        raise UsageError(f"a recipe's text should look like 1.eJyLrlZ...; found {short(found)}")
    version, packed = match.groups()
    if version != _VERSION:
        raise UsageError(
            f"this version reads recipes of version {_VERSION}; found version {version}: upgrade to read it"
        )
    try:
        squeezed = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        unzip = zlib.decompressobj()
        plain = unzip.decompress(squeezed, _MAX_PLAIN_BYTES)
        if not unzip.eof or unzip.unused_data:
            raise ValueError("cut, or too long")
        document = json.loads(plain, parse_constant=_refuse)
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UsageError(f"a recipe's text should be whole, as it was copied; found {short(found)}") from error
    return parse_recipe(document)


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not JSON")
