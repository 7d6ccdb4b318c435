"""The edits of the Inference page: one recipe in the link, listed in words, to be moved, taken back and copied."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any, Final

import streamlit as st

from explorer.app import links, state
from explorer.app.names import esc
from explorer.errors import UsageError
from explorer.inference.edits.kinds.fields import Edit
from explorer.inference.edits.recipe import MAX_EDITS, Recipe, from_text, parse_edit, to_text

_TROUBLE: Final = "inference.trouble"
_OF_TEXT: Final = ("replace_token", "insert_token", "delete_token")
_MAX_OF_TEXT: Final = 3  # in a row, before they are folded away


def current() -> Recipe:
    """The recipe of the link, with what is switched off; a damaged one is told, and counts as none."""
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


def switched_on(recipe: Recipe) -> Recipe:
    """The edits of the recipe that are not switched off."""
    off = _off(recipe)
    return tuple(edit for place, edit in enumerate(recipe) if place not in off)


def put(recipe: Recipe, off: Collection[int] = ()) -> None:
    """Set the recipe, in the link as well; what cannot be kept there is told and changes nothing.

    Args:
        recipe: all edits.
        off: places of those that are switched off.
    """
    st.session_state.pop(_TROUBLE, None)
    try:
        if len(recipe) > MAX_EDITS:
            raise UsageError(f"a recipe has at most {MAX_EDITS} edits; found {len(recipe)}")
        state.put(links.RECIPE, to_text(recipe) or None)
    except UsageError as error:
        st.session_state[_TROUBLE] = str(error)
        return
    listed = "-".join(map(str, sorted(off)))
    state.put(links.OFF, f"{_mark(recipe)}.{listed}" if listed else None)


def append(make: Callable[[], Mapping[str, Any]]) -> None:
    """Add the edit that `make` gives as plain data; for a button. What is wrong with it is told beside the form."""
    try:
        edit = parse_edit(make())
    except UsageError as error:
        st.session_state[_TROUBLE] = str(error)
        return
    _put_pairs([*_pairs(), (edit, True)])


def replace(keep: Callable[[Edit], bool], new: Recipe) -> None:
    """Keep some edits of the recipe and put others behind them."""
    _put_pairs([*(pair for pair in _pairs() if keep(pair[0])), *((edit, True) for edit in new)])


def clear() -> None:
    """Take all edits away."""
    put(())


def trouble() -> None:
    """Tell what was wrong with the last edit that was asked for."""
    found = st.session_state.get(_TROUBLE)
    if found:
        st.warning(esc(found, 600), icon=":material/block:")


def edit_list(recipe: Recipe, about: Callable[[Edit], str]) -> None:
    """Draw every edit in words with the ways to switch it off, to move it and to take it away.

    Args:
        recipe: all edits.
        about: what the numbers and nodes of an edit are called in this run; "" where there is nothing to add.
    """
    if not recipe:
        st.caption("No edits: this is the model as it was trained.")
        return
    off = _off(recipe)
    # A text that is typed makes an edit of each token: they would hide what else is edited.
    for of_text, places in groupby(range(len(recipe)), lambda place: recipe[place].kind in _OF_TEXT):
        listed = list(places)
        name = f"{listed[0] + 1} to {listed[-1] + 1}: {len(listed)} edits of the text"
        with (
            st.expander(name, icon=":material/edit_note:") if of_text and len(listed) > _MAX_OF_TEXT else nullcontext()
        ):
            for place in listed:
                _line(place, recipe[place], place not in off, about(recipe[place]))
    with st.container(horizontal=True, gap="xsmall"):
        st.button("Undo the last", key="inference.undo", icon=":material/undo:", on_click=_undo)
        st.button("Take all away", key="inference.clear", icon=":material/clear_all:", on_click=clear)
    kinds = {edit.on for edit in recipe}
    if len(kinds) > 1:
        st.caption("Whatever their order here: edits of weights come first, then those of the input, then activations.")


def _line(place: int, edit: Edit, is_on: bool, more: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        words = esc(edit.describe(), 300)
        of = f" :gray[· {esc(more, 80)}]" if more else ""
        line = f"{place + 1}. {words}{of}" if is_on else f":gray[{place + 1}. ~~{words}~~]"
        st.markdown(line, width="stretch")
        eye = ("visibility", "Switch off") if is_on else ("visibility_off", "Switch on")
        _button(eye[1], eye[0], f"switch.{place}", _switch, place)
        _button("Earlier", "arrow_upward", f"up.{place}", _move, place, disabled=place == 0)
        _button("Take away", "close", f"remove.{place}", _remove, place)


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


def _mark(recipe: Recipe) -> str:
    """Tells recipes apart, so that a link to other edits does not inherit what is switched off here."""
    return f"{zlib.crc32(to_text(recipe).encode()):08x}"


def _off(recipe: Recipe) -> frozenset[int]:
    """Places of the edits that the link says are switched off."""
    mark, _, listed = (state.get(links.OFF) or "").partition(".")
    parts = listed.split("-")[:MAX_EDITS]
    if mark != _mark(recipe) or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        return frozenset()
    return frozenset(map(int, parts))


def _pairs() -> list[tuple[Edit, bool]]:
    """Every edit and whether it is on; inside a callback."""
    held = _held()
    off = _off(held)
    return [(edit, place not in off) for place, edit in enumerate(held)]


def _put_pairs(pairs: Sequence[tuple[Edit, bool]]) -> None:
    put(tuple(edit for edit, _ in pairs), [place for place, (_, is_on) in enumerate(pairs) if not is_on])


def _undo() -> None:
    _put_pairs(_pairs()[:-1])


def _remove(place: int) -> None:
    pairs = _pairs()
    _put_pairs(pairs[:place] + pairs[place + 1 :])


def _switch(place: int) -> None:
    _put_pairs([(edit, is_on != (at == place)) for at, (edit, is_on) in enumerate(_pairs())])


def _move(place: int) -> None:
    pairs = _pairs()
    if 0 < place < len(pairs):
        pairs[place - 1], pairs[place] = pairs[place], pairs[place - 1]
    _put_pairs(pairs)
