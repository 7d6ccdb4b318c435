"""Parts of a page that are sent again as they were, until what they show changes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec

import streamlit as st

from explorer.reading.catalogue import RunInfo

P = ParamSpec("P")
Draw = Callable[Concatenate[Sequence[RunInfo], P], None]


def drawn_once(draw: Draw[P]) -> Draw[P]:
    """Decorate a function that draws what is the same for every session, and nothing that answers.

    It is called again when one of its arguments is another one. Runs are told apart as objects, which the catalogue
    keeps while nothing changes; everything else by value. A styled table, which costs 0.1 ms a cell, then costs 1 ms.
    """

    @functools.wraps(draw)
    def call(infos: Sequence[RunInfo], *args: P.args, **kwargs: P.kwargs) -> Sequence[RunInfo]:
        draw(infos, *args, **kwargs)
        return infos  # kept with what was drawn, so that no other run is ever given their ids

    cached = st.cache_resource(show_spinner=False, max_entries=64, hash_funcs={RunInfo: id, str: _bytes})(call)

    def show(infos: Sequence[RunInfo], /, *args: P.args, **kwargs: P.kwargs) -> None:
        cached(infos, *args, **kwargs)

    return show


def _bytes(text: str) -> bytes:
    """Any text as bytes; names may hold half characters, which UTF-8 does not have."""
    return text.encode("utf-8", "surrogatepass")
