"""What the process that runs models refuses, and what ended it, as messages with a way on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import streamlit as st

from explorer.app import inference_session
from explorer.app.names import esc
from explorer.errors import ExplorerError, OutOfMemory, SandboxError

_LOG: Final = logging.getLogger(__name__)


@contextmanager
def refusal(what: str) -> Iterator[None]:
    """Turn an error of ours into a message; the rest of the page is drawn all the same."""
    try:
        yield
    except ExplorerError as error:
        _LOG.info("%s: %s", what, error)
        ended = isinstance(error, SandboxError | OutOfMemory)
        st.error(
            esc(error, 1_000),
            title="The process that runs the model was stopped" if ended else "This cannot be run",
            icon=":material/report:" if ended else ":material/block:",
        )
        st.button(
            "Run again", key=f"inference.again.{what}", icon=":material/refresh:", on_click=inference_session.run_again
        )
