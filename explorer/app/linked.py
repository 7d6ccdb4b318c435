"""Widgets whose value lives in `state`: opened from a link, moved by the back button, unknown values ignored.

Each script run sets the widget from the state, and a change is written back. Unlike `bind="query-params"`, which puts
an option's label into the address, this puts the option itself there (a run id, a metric). A value equal to the default
is left out of the address. Labels are Markdown: names in them need `esc`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import streamlit as st

from explorer.app import state

MAX_SEARCH_CHARS: Final = 500
_ON: Final = "true"


def select(
    label: str,
    key: str,
    options: Sequence[str],
    default: str,
    *,
    format_func: Callable[[str], str] = str,
    help: str | None = None,
    hide_label: bool = False,
) -> str:
    """Draw a select box over `options` (at least one, holding `default`) and return the option chosen."""
    st.session_state[_widget(key)] = _known(key, options, default)
    chosen = st.selectbox(
        label,
        options,
        key=_widget(key),
        format_func=format_func,
        help=help,
        label_visibility="collapsed" if hide_label else "visible",
        on_change=_write,
        args=(key, default),
    )
    return default if chosen is None else chosen


def segments(
    label: str,
    key: str,
    options: Sequence[str],
    default: str,
    *,
    format_func: Callable[[str], str] = str,
    help: str | None = None,
) -> str:
    """Draw a row of buttons of which one is chosen, and return it."""
    st.session_state[_widget(key)] = _known(key, options, default)
    chosen = st.segmented_control(
        label,
        options,
        key=_widget(key),
        format_func=format_func,
        help=help,
        required=True,
        on_change=_write,
        args=(key, default),
    )
    return default if chosen is None else chosen


def toggle(label: str, key: str, *, help: str | None = None) -> bool:
    """Draw a switch that is off by default and return whether it is on."""
    st.session_state[_widget(key)] = state.get(key) == _ON
    return st.toggle(label, key=_widget(key), help=help, on_change=_write, args=(key, ""))


def search(label: str, key: str, placeholder: str, *, help: str | None = None, hide_label: bool = False) -> str:
    """Draw a search box that answers while typing and return its text."""
    st.session_state[_widget(key)] = (state.get(key) or "")[:MAX_SEARCH_CHARS]
    text = st.text_input(
        label,
        key=_widget(key),
        placeholder=placeholder,
        help=help,
        type="search",
        max_chars=MAX_SEARCH_CHARS,
        live=True,
        label_visibility="collapsed" if hide_label else "visible",
        on_change=_write,
        args=(key, ""),
    )
    return (text or "").strip()


def unknown(key: str, known: Collection[str]) -> str | None:
    """Return what the state names at `key` when it is none of `known`, so that the page can say so."""
    value = state.get(key)
    return value if value and value not in known else None


def _known(key: str, options: Sequence[str], default: str) -> str:
    value = state.get(key)
    return value if value is not None and value in options else default


def _widget(key: str) -> str:
    return f"linked.{key}"


def _write(key: str, default: str) -> None:
    value = st.session_state[_widget(key)]
    text = _ON if value is True else str(value or "")
    state.put(key, None if text in (default, "") else text)
