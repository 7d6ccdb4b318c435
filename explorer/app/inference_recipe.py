"""The edits of the Inference page: one recipe in the link, listed in words, to be moved, taken back and copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import streamlit as st

from explorer.app import links, state
from explorer.app.names import esc
from explorer.errors import UsageError
from explorer.inference.edits.kinds.fields import Edit
from explorer.inference.edits.recipe import MAX_EDITS, Recipe, from_text, parse_edit, to_text, undo

_TROUBLE: Final = "inference.trouble"


def current() -> Recipe:
    """The recipe of the link; a damaged one is told, and counts as none."""
    text = state.get(links.RECIPE)
    if not text:
        return ()
    try:
        return from_text(text)
    except UsageError as error:
        st.warning(
            f"{esc(error, 400)}\n\nThe model is shown unedited.",
            title="The edits of the link cannot be read",
            icon=":material/link_off:",
        )
        st.button("Forget them", key="inference.forget_edits", on_click=clear)
        return ()


def put(recipe: Recipe) -> None:
    """Set the recipe, in the link as well; what cannot be kept there is told and changes nothing."""
    st.session_state.pop(_TROUBLE, None)
    try:
        if len(recipe) > MAX_EDITS:
            raise UsageError(f"a recipe has at most {MAX_EDITS} edits; found {len(recipe)}")
        state.put(links.RECIPE, to_text(recipe) or None)
    except UsageError as error:
        st.session_state[_TROUBLE] = str(error)


def append(make: Callable[[], Mapping[str, Any]]) -> None:
    """Add the edit that `make` gives as plain data; for a button. What is wrong with it is told beside the form."""
    try:
        edit = parse_edit(make())
    except UsageError as error:
        st.session_state[_TROUBLE] = str(error)
        return
    put((*_held(), edit))


def replace(keep: Callable[[Edit], bool], new: Recipe) -> None:
    """Keep some edits of the recipe and put others behind them."""
    put((*(edit for edit in _held() if keep(edit)), *new))


def clear() -> None:
    """Take all edits away."""
    put(())


def trouble() -> None:
    """Tell what was wrong with the last edit that was asked for."""
    found = st.session_state.get(_TROUBLE)
    if found:
        st.warning(esc(found, 600), icon=":material/block:")


def edit_list(recipe: Recipe) -> None:
    """Draw every edit in words with the ways to move it and take it away."""
    if not recipe:
        st.caption("No edits: this is the model as it was trained.")
        return
    for place, edit in enumerate(recipe):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"{place + 1}. {esc(edit.describe(), 300)}", width="stretch")
            _button("Earlier", "arrow_upward", f"up.{place}", _move, place, disabled=place == 0)
            _button("Take away", "close", f"remove.{place}", _remove, place)
    with st.container(horizontal=True, gap="xsmall"):
        st.button("Undo the last", key="inference.undo", icon=":material/undo:", on_click=_undo)
        st.button("Take all away", key="inference.clear", icon=":material/clear_all:", on_click=clear)
    kinds = {edit.on for edit in recipe}
    if len(kinds) > 1:
        st.caption("Whatever their order here: edits of weights come first, then those of the input, then activations.")


def _button(help: str, icon: str, key: str, call: Callable[[int], None], place: int, disabled: bool = False) -> None:
    st.button(
        "",
        key=f"inference.{key}",
        icon=f":material/{icon}:",
        help=help,
        type="tertiary",
        disabled=disabled,
        on_click=call,
        args=(place,),
    )


def _held() -> Recipe:
    """The recipe inside a callback, where nothing can be drawn."""
    try:
        return from_text(state.get(links.RECIPE) or "")
    except UsageError:
        return ()


def _undo() -> None:
    put(undo(_held()))


def _remove(place: int) -> None:
    held = _held()
    put((*held[:place], *held[place + 1 :]))


def _move(place: int) -> None:
    held = list(_held())
    if 0 < place < len(held):
        held[place - 1], held[place] = held[place], held[place - 1]
    put(tuple(held))
