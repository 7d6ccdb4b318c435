"""Widgets whose value lives in `state`: opened from a link, moved by the back button, unknown values ignored.

Each script run sets the widget from the state, and a change is written back. Unlike `bind="query-params"`, which puts
an option's label into the address, this puts the option itself there (a run id, a metric). A value equal to the default
is left out of the address. Labels are Markdown: names in them need `esc`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from explorer.app import state

# What can be chosen, in order; a mapping holds the title of each option, a sequence leaves it to `format_func`.
Options = Sequence[str] | Mapping[str, str]

MAX_SEARCH_CHARS: Final = 500
_ON: Final = "true"


def select(
    label: str,
    key: str,
    options: Options,
    default: str,
    *,
    format_func: Callable[[str], str] = str,
    help: str | None = None,
    hide_label: bool = False,
) -> str:
    """Draw a select box over `options` (at least one, holding `default`) and return the option chosen."""
    chosen = st.selectbox(
        label,
        list(options),
        format_func=options.__getitem__ if isinstance(options, Mapping) else format_func,
        help=help,
        label_visibility="collapsed" if hide_label else "visible",
        **_bound(key, _known(key, options, default), default),
    )
    return default if chosen is None else chosen


def segments(
    label: str,
    key: str,
    options: Options,
    default: str,
    *,
    format_func: Callable[[str], str] = str,
    help: str | None = None,
) -> str:
    """Draw a row of buttons of which one is chosen, and return it."""
    chosen = st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__ if isinstance(options, Mapping) else format_func,
        help=help,
        required=True,
        **_bound(key, _known(key, options, default), default),
    )
    return default if chosen is None else chosen


def toggle(label: str, key: str, *, help: str | None = None) -> bool:
    """Draw a switch that is off by default and return whether it is on."""
    return st.toggle(label, help=help, **_bound(key, state.get(key) == _ON))


def search(label: str, key: str, placeholder: str, *, help: str | None = None, hide_label: bool = False) -> str:
    """Draw a search box that answers while typing and return its text."""
    text = st.text_input(
        label,
        placeholder=placeholder,
        help=help,
        type="search",
        max_chars=MAX_SEARCH_CHARS,
        live=True,
        label_visibility="collapsed" if hide_label else "visible",
        **_bound(key, (state.get(key) or "")[:MAX_SEARCH_CHARS]),
    )
    return (text or "").strip()


def unknown(key: str, known: Collection[str]) -> str | None:
    """Return what the state names at `key` when it is none of `known`, so that the page can say so."""
    value = state.get(key)
    return value if value and value not in known else None


def _bound(key: str, value: str | bool, default: str = "") -> dict[str, Any]:
    """Set the widget of `key` to `value`; return the arguments that write a change of it back."""
    st.session_state[_widget(key)] = value
    return {"key": _widget(key), "on_change": _write, "args": (key, default)}


def _known(key: str, options: Options, default: str) -> str:
    value = state.get(key)
    return value if value is not None and value in options else default


def _widget(key: str) -> str:
    return f"linked.{key}"


def _write(key: str, default: str) -> None:
    value = st.session_state[_widget(key)]
    text = _ON if value is True else str(value or "")
    state.put(key, None if text in (default, "") else text)
