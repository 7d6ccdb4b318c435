"""Edits of tokens: which there are after a recipe, and the recipe that makes one text of another."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from explorer.app import inference_recipe
from explorer.inference.edits.kinds.fields import Edit
from explorer.inference.edits.kinds.inputs import (
    MAX_TOKENS,
    DeleteToken,
    InputEdit,
    InsertToken,
    ReplaceToken,
    SetTokens,
)
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_KINDS: Final = ("replace_token", "insert_token", "delete_token", "set_tokens")
_MAX_SINGLE: Final = 8


def vocabulary_of(scene: Scene) -> tuple[str, ...]:
    """The recorded vocabulary, for the first input of whole numbers: others (masks, positions) have none."""
    return scene.model.vocabulary if _shows_tokens(scene) else ()


def is_read_as_text(scene: Scene) -> bool:
    """Whether a tokenizer was recorded for the input that is shown, the first of whole numbers."""
    return scene.model.tokenizer is not None and _shows_tokens(scene)


def _shows_tokens(scene: Scene) -> bool:
    first = next((path for path in scene.paths if scene.model.inputs[path].dtype.kind in "iu"), None)
    return scene.path == first


def edited_tokens(recorded: Sequence[int], recipe: Recipe, path: str = "") -> list[int]:
    """The tokens after the recipe's edits of them; edits that do not fit are left to the model's own message.

    Args:
        recorded: as they were.
        recipe: edits.
        path: of the input; "" where it is the only one.
    """
    tokens = list(recorded)
    for edit in recipe:
        if isinstance(edit, InputEdit) and edit.input not in ("", path):
            continue
        if isinstance(edit, SetTokens):
            tokens = edit.numbers()
        elif isinstance(edit, InsertToken) and edit.position <= len(tokens):
            tokens.insert(edit.position, edit.token)
        elif isinstance(edit, ReplaceToken) and edit.position < len(tokens):
            tokens[edit.position] = edit.token
        elif isinstance(edit, DeleteToken) and edit.position < len(tokens):
            del tokens[edit.position]
    return tokens


def token_edits(before: Sequence[int], after: Sequence[int], path: str = "") -> Recipe:
    """Edits that make one list of tokens of another, from left to right; one for the whole where there are many.

    >>> [edit.describe() for edit in token_edits([1, 2, 3], [1, 9])]
    ['replace the token at position 1 by 9', 'delete the token at position 2']
    """
    edits: list[ReplaceToken | InsertToken | DeleteToken] = []
    matcher = difflib.SequenceMatcher(None, list(before), list(after), autojunk=False)
    for _, i1, i2, j1, j2 in (code for code in matcher.get_opcodes() if code[0] != "equal"):
        both = min(i2 - i1, j2 - j1)
        edits += [ReplaceToken(input=path, position=j1 + k, token=int(after[j1 + k])) for k in range(both)]
        edits += [InsertToken(input=path, position=j, token=int(after[j])) for j in range(j1 + both, j2)]
        edits += [DeleteToken(input=path, position=j1 + both)] * (i2 - i1 - both)
    if len(edits) > _MAX_SINGLE and 0 < len(after) <= MAX_TOKENS:
        return (SetTokens(input=path, tokens=" ".join(str(int(token)) for token in after)),)
    return tuple(edits)


def set_tokens(recorded: Sequence[int], tokens: Sequence[int], path: str) -> None:
    """Put these tokens in the place of an input's, in the recipe.

    Args:
        recorded: as they were.
        tokens: as they should be.
        path: of the input; "" where it is the only one.
    """

    def keep(edit: Edit) -> bool:
        return edit.kind not in _KINDS or (isinstance(edit, InputEdit) and edit.input != path)

    inference_recipe.replace(keep, token_edits(recorded, tokens, path))
