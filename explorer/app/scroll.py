"""Bring a part of a page into view after a button far above it opened it: one inline component, no network."""

from __future__ import annotations

from typing import Final

import streamlit as st

_WANTED: Final = "scroll.wanted"  # session: the place to go to in the script run after a click
_TURN: Final = "scroll.turn"  # session: counts the times, so that the browser tells a new one from one it has done

_JS: Final = """
export default function ({ parentElement, data }) {
  const mark = parentElement.querySelector('span');
  if (!data.turn || mark.turn === data.turn) return;
  mark.turn = data.turn;
  const go = () => mark.scrollIntoView({ behavior: 'smooth', block: 'start' });
  go();
  setTimeout(() => { if (mark.getBoundingClientRect().top > 100) go(); }, 500);  // charts have got their height
}
"""
_mark = st.components.v2.component("explorer_scroll_mark", html="<span aria-hidden='true'></span>\n", js=_JS)


def to(place: str) -> None:
    """Ask for a place that this script run marks with `mark`; for a button."""
    st.session_state[_WANTED] = place
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1


def mark(place: str) -> None:
    """Mark a place; the page moves there where `to` has asked for it since it was last drawn."""
    wanted = st.session_state.get(_WANTED) == place
    if wanted:
        del st.session_state[_WANTED]
    _mark(key=f"scroll.{place}", data={"turn": st.session_state.get(_TURN, 0) if wanted else 0}, height=1)
