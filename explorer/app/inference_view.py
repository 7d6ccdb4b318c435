"""The Inference page below its choices: input and edits on the left, what comes out on the right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from explorer.app import inference_banner, inference_output, inference_session
from explorer.app.names import esc
from explorer.errors import ExplorerError, SandboxError

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene


def view(scene: Scene) -> None:
    """Draw everything about a model that can be run."""
    with refusal("model"):
        with st.spinner("Starting the process that runs the model …", show_time=True):
            probe = inference_session.ask(scene, "run")
        inference_banner.banner(scene, probe["before"])
        answer = inference_session.ask(scene, "run", inputs=scene.inputs())
        inference_output.output(scene, answer, False)


@contextmanager
def refusal(what: str) -> Iterator[None]:
    """Turn what the child process refuses, or what ended it, into a message with a way on."""
    try:
        yield
    except ExplorerError as error:
        ended = isinstance(error, SandboxError)
        st.error(
            esc(error, 1_000),
            title=inference_session.trouble_of(error),
            icon=":material/report:" if ended else ":material/block:",
        )
        st.button(
            "Run again", key=f"inference.again.{what}", icon=":material/refresh:", on_click=inference_session.run_again
        )
