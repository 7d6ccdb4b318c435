"""State that a link can carry and that outlives a switch of pages: short texts, one for each key of the query.

A page switch empties the query of the address, a link or the back button changes it, and a widget changes the state:
`get` tells these apart. Widgets with `bind="query-params"` need none of this.

Links and the back button draw the whole page. What a part that draws itself again (a fragment) finds in the address is
what the browser showed when it asked, which may be older than what this session has put there since: there, and in
callbacks, the session alone counts.
"""

from __future__ import annotations

from typing import Final

import streamlit as st

from explorer.app import links

_PAGE: Final = "page_now"
_BEFORE: Final = "page_before"
_WHOLE: Final = "page_whole"  # whether the whole page is being drawn


def enter(page: str) -> None:
    """Note which page this script run draws; called once by the frame, before any `get`."""
    st.session_state[_BEFORE] = st.session_state.get(_PAGE, page)
    st.session_state[_PAGE] = page
    st.session_state[_WHOLE] = True


def leave() -> None:
    """Note that the whole page is drawn: from here to the next `enter`, only fragments and callbacks run."""
    st.session_state[_WHOLE] = False


def get(key: str) -> str | None:
    """Return the text at `key`, None when it was never set or was taken away; the address then says the same.

    The address wins when it changed since this session last read or wrote it (a link, the back button), else the
    session wins (another page has emptied the query).
    """
    if st.session_state.get(_WHOLE, True) or _seen(key) not in st.session_state:
        found, seen = st.query_params.get(key), st.session_state.get(_seen(key))
        if found is not None and found != seen:
            st.session_state[_value(key)] = found[: links.MAX_CHARS]
        elif found is None and seen is not None and _same_page():
            st.session_state[_value(key)] = None
    value: str | None = st.session_state.get(_value(key))
    _write(key, value)
    return value


def put(key: str, value: str | None) -> None:
    """Set the text at `key`, in the session and in the address; None takes it away."""
    st.session_state[_value(key)] = value
    _write(key, value)


def _write(key: str, value: str | None) -> None:
    links.put(key, value)
    st.session_state[_seen(key)] = value


def _same_page() -> bool:
    return bool(st.session_state.get(_BEFORE) == st.session_state.get(_PAGE))


def _value(key: str) -> str:
    return f"link.{key}"


def _seen(key: str) -> str:
    return f"link.{key}.seen"
