"""Texts: the tokens of an example to edit, and what the model continues them with."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import streamlit as st

from explorer.app import inference_recipe, inference_session, linked, links
from explorer.app.inference_output import token_names
from explorer.app.names import esc
from explorer.charts.outcome import percent
from explorer.inference.edits.kinds.fields import Edit
from explorer.inference.edits.kinds.inputs import DeleteToken, InputEdit, InsertToken, ReplaceToken
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_KINDS: Final = ("replace_token", "insert_token", "delete_token")
_MAX_CHOICES: Final = 2_000
_TROUBLE: Final = "inference.text_trouble"


def token_input(scene: Scene, recipe: Recipe) -> None:
    """Draw the text and the table of its tokens; both can be edited."""
    recorded = [int(token) for token in scene.recorded]
    tokens = edited_tokens(recorded, recipe, scene.path)
    vocabulary = vocabulary_of(scene)
    # Another recipe is another table: the editor keeps its changes by row.
    version = abs(hash((scene.info.run_id, scene.path, scene.example, tuple(tokens))))
    if vocabulary and all(len(name) == 1 for name in vocabulary):
        key = f"inference.text.{version}"
        st.text_area(
            "Text",
            "".join(vocabulary[token] for token in tokens if 0 <= token < len(vocabulary)),
            key=key,
            height=130,
            on_change=_typed,
            args=(key, recorded, vocabulary, scene.edit_path),
            help="Every character is a token. Ctrl+Enter runs the edited text.",
        )
        if found := st.session_state.get(_TROUBLE):
            st.warning(esc(found, 300), icon=":material/block:")
    count = max([*recorded, *tokens, len(vocabulary) - 1]) + 1
    names = token_names(scene.model, count) if vocabulary else [str(token) for token in range(count)]
    with st.expander(f"{len(tokens):,} tokens", icon=":material/data_array:", expanded=not vocabulary):
        _table(tokens, recorded, names, version, scene.edit_path)
    if tokens != recorded:
        st.button("Back to the recorded text", icon=":material/undo:", on_click=_set,
                  args=(recorded, recorded, scene.edit_path))  # fmt: skip


def vocabulary_of(scene: Scene) -> tuple[str, ...]:
    """The recorded vocabulary, for the first input of whole numbers: others (masks, positions) have none."""
    first = next((path for path in scene.paths if scene.model.inputs[path].dtype.kind in "iu"), None)
    return scene.model.vocabulary if scene.path == first else ()


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
        if isinstance(edit, InsertToken) and edit.position <= len(tokens):
            tokens.insert(edit.position, edit.token)
        elif isinstance(edit, ReplaceToken) and edit.position < len(tokens):
            tokens[edit.position] = edit.token
        elif isinstance(edit, DeleteToken) and edit.position < len(tokens):
            del tokens[edit.position]
    return tokens


def token_edits(before: Sequence[int], after: Sequence[int], path: str = "") -> Recipe:
    """Edits that make one list of tokens of another, from left to right.

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
    return tuple(edits)


def continuation(scene: Scene, recipe: Recipe) -> None:
    """Draw what the original and the edited model continue the text with, token by token."""
    if not scene.model.runs_single or not linked.toggle(
        "Continue the text", links.CONTINUE, help="The model writes on, one token after the other"
    ):
        return
    left, right = st.columns(2)
    count = int(left.slider("New tokens", 1, 200, 40, key="inference.num_new"))
    temperature = float(
        right.slider("Temperature", 0.0, 2.0, 0.0, 0.1, key="inference.temperature", help="0 takes the most probable")
    )
    inputs = scene.inputs()
    for title, edits in (("Original", ()), ("Edited", recipe)) if recipe else (("Original", ()),):
        answer = inference_session.ask(
            scene, "generate", edits, inputs=inputs, num_new=count, temperature=temperature, seed=0
        )
        _continued(scene, title, edited_tokens([int(t) for t in scene.recorded], edits, scene.path), answer["tokens"])


def _continued(scene: Scene, title: str, before: Sequence[int], made: Sequence[dict[str, Any]]) -> None:
    vocabulary = scene.model.vocabulary
    new = [int(found["token"]) for found in made]
    names = token_names(scene.model, max([*before, *new, len(vocabulary) - 1]) + 1)
    st.markdown(f"**{title}**")
    joined = all(0 <= token < len(vocabulary) for token in (*before, *new))
    glue = "" if all(len(name) == 1 for name in vocabulary) else " "
    if joined:
        st.code(glue.join(vocabulary[token] for token in before[-80:]) + " ⟶ " + glue.join(vocabulary[t] for t in new),
                language=None, wrap_lines=True)  # fmt: skip
    else:
        st.code(" ".join(map(str, new)), language=None, wrap_lines=True)
    with st.expander(f"{title}: every token with its alternatives"):
        rows = [
            {
                "token": names[int(found["token"])],
                "probability": float(found["probability"]),
                "most probable": "  ".join(f"{names[int(token)]} {percent(share)}" for token, share in found["top"]
                                           if int(token) < len(names)),
            }
            for found in made
        ]  # fmt: skip
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=300)


def _table(tokens: Sequence[int], recorded: Sequence[int], names: Sequence[str], version: int, path: str) -> None:
    by_name = len(names) <= _MAX_CHOICES
    key = f"inference.tokens.{version}"
    titles = [f"{name}  ({token})" for token, name in enumerate(names)]
    column = (
        st.column_config.SelectboxColumn("token", options=titles, required=True)
        if by_name
        else st.column_config.NumberColumn("token", min_value=0, step=1, required=True)
    )
    values = [titles[token] for token in tokens] if by_name else list(tokens)
    st.data_editor(
        pd.DataFrame({"token": values}, index=np.arange(len(tokens))),
        key=key,
        num_rows="dynamic",
        column_config={"token": column},
        on_change=_edited,
        args=(key, list(tokens), recorded, titles if by_name else None, path),
        height=300,
    )


def _typed(key: str, recorded: Sequence[int], vocabulary: Sequence[str], path: str) -> None:
    number = {name: token for token, name in enumerate(vocabulary)}
    text = str(st.session_state[key])
    strange = sorted({letter for letter in text if letter not in number})
    st.session_state.pop(_TROUBLE, None)
    if strange or not text:
        listed = ", ".join(map(repr, strange[:8]))
        st.session_state[_TROUBLE] = (
            f"The model knows no {listed}: the text was left as it was." if strange else "The text should not be empty."
        )
        return
    _set(recorded, [number[letter] for letter in text], path)


def _edited(key: str, tokens: list[int], recorded: Sequence[int], titles: Sequence[str] | None, path: str) -> None:
    """Rows that were changed, added and taken away; whatever is no token is left out."""
    change = st.session_state[key]

    def token_of(row: Any) -> int | None:  # noqa: ANN401 - from the browser
        value = row.get("token") if hasattr(row, "get") else None
        if titles is not None:
            return titles.index(value) if value in titles else None
        return int(value) if isinstance(value, int | float) and 0 <= value < 2**31 else None

    new: list[int | None] = list(tokens)
    for place, row in change["edited_rows"].items():
        if (found := token_of(row)) is not None and int(place) < len(new):
            new[int(place)] = found
    for place in change["deleted_rows"]:
        if int(place) < len(new):
            new[int(place)] = None
    new += [token_of(row) for row in change["added_rows"]]
    _set(recorded, [token for token in new if token is not None], path)


def _set(recorded: Sequence[int], tokens: Sequence[int], path: str) -> None:
    def keep(edit: Edit) -> bool:
        return edit.kind not in _KINDS or (isinstance(edit, InputEdit) and edit.input != path)

    inference_recipe.replace(keep, token_edits(recorded, tokens, path))
