"""A text of tokens of several letters: typed as it is read, with the tokenizer that was recorded with the model.

The tokenizer runs in the process that runs models, which may die of a hostile one. What was typed is therefore not
tokenised in the callback, where nothing can be drawn, but by `settle`, before the page reads its edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import inference_session
from explorer.app.inference_token_edits import is_read_as_text, set_tokens
from explorer.app.names import esc
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_TYPED: Final = "inference.text.typed"  # session: (text, whose), waiting for `settle`
_TROUBLE: Final = "inference.text.trouble"


def settle(scene: Scene) -> None:
    """Make edits of what was typed, if anything was; what is wrong with it is told beside the text."""
    text, whose = st.session_state.pop(_TYPED, (None, None))
    if text is None or whose != _whose(scene):
        return
    try:
        tokens = inference_session.ask(scene, "tokenise", text=text)["tokens"]
    except ExplorerError as error:
        st.session_state[_TROUBLE] = f"{str(error).rstrip('.')}. The model still sees the text before this one."
        return
    set_tokens([int(token) for token in scene.recorded], tokens, scene.edit_path)


def text_input(scene: Scene, tokens: Sequence[int], version: int) -> None:
    """Draw the text of these tokens, to be typed in; or why it cannot be read.

    Args:
        scene: what runs, with a recorded tokenizer.
        tokens: after the edits so far.
        version: changes with them.
    """
    try:
        text = inference_session.ask(scene, "tokenise", tokens=list(tokens))["text"]
    except ExplorerError as error:
        st.info(
            f"{esc(error, 500)}\n\nThe tokens can be changed one by one below.",
            title="The text cannot be shown",
            icon=":material/spellcheck:",
        )
        return
    key = f"inference.text.{version}"
    st.text_area(
        "Text",
        text,
        key=key,
        height=130,
        on_change=_typed,
        args=(key, _whose(scene)),
        help="The recorded tokenizer makes tokens of it, and adds none by itself. Ctrl+Enter runs the edited text.",
    )
    if found := st.session_state.get(_TROUBLE):
        st.warning(esc(found, 500), icon=":material/block:")


def read(scene: Scene, tokens: Sequence[int]) -> str | None:
    """The text of tokens; None where no tokenizer was recorded for them, or it fails."""
    if is_read_as_text(scene):
        with suppress(ExplorerError):
            return str(inference_session.ask(scene, "tokenise", tokens=list(tokens))["text"])
    return None


def _whose(scene: Scene) -> tuple[str, str, int]:
    return scene.info.run_id, scene.path, scene.example


def _typed(key: str, whose: tuple[str, str, int]) -> None:
    st.session_state.pop(_TROUBLE, None)
    st.session_state[_TYPED] = (str(st.session_state[key]), whose)
