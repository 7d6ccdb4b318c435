"""Texts: the tokens of an example to edit, and what the model continues them with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import streamlit as st

from explorer.app import inference_session, inference_text, linked, links
from explorer.app.inference_output import token_names
from explorer.app.inference_result import are_tags, first_output, output_kind
from explorer.app.inference_token_edits import edited_tokens, is_read_as_text, set_tokens, vocabulary_of
from explorer.app.names import esc
from explorer.charts.outcome import percent
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_MAX_CHOICES: Final = 2_000
_MAX_TOKENS: Final = 20_000
_MAX_FOUND: Final = 30
_TROUBLE: Final = "inference.text_trouble"


def token_input(scene: Scene, recipe: Recipe) -> None:
    """Draw the text and the table of its tokens; both can be edited."""
    recorded = [int(token) for token in scene.recorded]
    tokens = edited_tokens(recorded, recipe, scene.path)
    vocabulary = vocabulary_of(scene)
    # Another recipe is another table: the editor keeps its changes by row.
    version = abs(hash((scene.info.run_id, scene.path, scene.example, tuple(tokens))))
    if is_read_as_text(scene):
        inference_text.text_input(scene, tokens, version)
    elif vocabulary and all(len(name) == 1 for name in vocabulary):
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
    elif vocabulary:
        st.caption(
            "Tokens of several letters are changed one by one. A run that records its tokenizer, with "
            '`rec.program(..., tokenizer="tokenizer.json")`, takes typed text.'
        )
    if len(tokens) > _MAX_TOKENS:
        st.caption(
            f"{len(tokens):,} tokens are too many for a table to change them one by one: record a shorter example."
        )
        return
    count = max([*recorded, *tokens, len(vocabulary) - 1]) + 1
    with st.expander(f"{len(tokens):,} tokens", icon=":material/data_array:", expanded=not vocabulary):
        if count <= _MAX_CHOICES:
            names = token_names(scene.model, count) if vocabulary else [str(token) for token in range(count)]
            _table_of_names(tokens, recorded, names, version, scene.edit_path)
        else:
            _table_of_ids(tokens, recorded, vocabulary, version, scene.edit_path)
            _find_pieces(vocabulary)
    if tokens != recorded:
        st.button("Back to the recorded text", icon=":material/undo:", on_click=set_tokens,
                  args=(recorded, recorded, scene.edit_path))  # fmt: skip


def continuation(scene: Scene, recipe: Recipe) -> None:
    """Draw what the original and the edited model continue the text with, token by token."""
    if not _writes_on(scene) or not linked.toggle(
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


def _writes_on(scene: Scene) -> bool:
    """Whether the model can be asked for the token after the end: not where its outputs are known to be others."""
    made = first_output(scene.model.outputs)
    is_other = made is not None and (output_kind(scene.model, made[1]) != "tokens" or are_tags(scene.model, made[1]))
    return scene.model.runs_single and not is_other


def _continued(scene: Scene, title: str, before: Sequence[int], made: Sequence[dict[str, Any]]) -> None:
    vocabulary = scene.model.vocabulary
    new = [int(found["token"]) for found in made]
    names = token_names(scene.model, max([*before, *new, len(vocabulary) - 1]) + 1)
    st.markdown(f"**{title}**")
    joined = all(0 <= token < len(vocabulary) for token in (*before, *new))
    glue = "" if all(len(name) == 1 for name in vocabulary) else " "
    head, whole = (inference_text.read(scene, part) for part in (before[-80:], [*before[-80:], *new]))
    if head is not None and whole is not None:
        # Where a letter is of several tokens, those before may end inside of one.
        shown = f"{head} ⟶ {whole[len(head) :]}" if whole.startswith(head) else whole
        st.code(shown, language=None, wrap_lines=True)
    elif joined:
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


def _table_of_names(
    tokens: Sequence[int], recorded: Sequence[int], names: Sequence[str], version: int, path: str
) -> None:
    key = f"inference.tokens.{version}"
    titles = [f"{name}  ({token})" for token, name in enumerate(names)]
    st.data_editor(
        pd.DataFrame({"token": [titles[token] for token in tokens]}, index=np.arange(len(tokens))),
        key=key,
        num_rows="dynamic",
        column_config={"token": st.column_config.SelectboxColumn("token", options=titles, required=True)},
        on_change=_edited,
        args=(key, list(tokens), recorded, titles, path),
        height=300,
    )


def _table_of_ids(
    tokens: Sequence[int], recorded: Sequence[int], vocabulary: Sequence[str], version: int, path: str
) -> None:
    """A list of as many pieces is too long to choose from: ids are typed, the pieces stand beside them."""
    key = f"inference.tokens.{version}"
    rows = pd.DataFrame({"token": list(tokens)}, index=np.arange(len(tokens)))
    if vocabulary:
        rows["piece"] = [repr(vocabulary[token]) if 0 <= token < len(vocabulary) else "" for token in tokens]
    st.data_editor(
        rows,
        key=key,
        num_rows="dynamic",
        disabled=["piece"],
        column_config={"token": st.column_config.NumberColumn("token", min_value=0, step=1, required=True)},
        on_change=_edited,
        args=(key, list(tokens), recorded, None, path),
        height=300,
    )


def _find_pieces(vocabulary: Sequence[str]) -> None:
    """Draw the ids of the pieces that hold a text, those that are it first."""
    asked = (
        st.text_input("Find a token", key="inference.find_token", placeholder="part of its piece") if vocabulary else ""
    )
    if not asked:
        return
    found = [token for token, piece in enumerate(vocabulary) if asked in piece]
    found.sort(key=lambda token: (len(vocabulary[token]), token))
    shown = [f"{token}: {vocabulary[token]!r}" for token in found[:_MAX_FOUND]]
    more = f" and {len(found) - _MAX_FOUND:,} more" if len(found) > _MAX_FOUND else ""
    st.caption(esc(", ".join(shown), 2_000) + more if shown else "No piece of the vocabulary holds this.")


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
    set_tokens(recorded, [number[letter] for letter in text], path)


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
    set_tokens(recorded, [token for token in new if token is not None], path)
