"""What runs: the captured program, or the user's own code where the command line named it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import inference_session, shell
from explorer.app.inference_refusal import refusal
from explorer.app.names import esc

if TYPE_CHECKING:
    from explorer.inference.plain_model import PlainModel

_PROGRAM: Final = "Recorded program"
_OWN: Final = "Your own code"


def choose(path: str, version: str, device: str, recorded: PlainModel | None) -> PlainModel | None:
    """The model to run; None where there is none.

    Args:
        path: of the run's folder.
        version: changes when its program does.
        device: where it runs.
        recorded: the captured model; None when there is none.
    """
    factory = shell.factory()
    if factory is None:
        return recorded
    if recorded is not None:
        chosen = st.segmented_control(
            "What runs",
            [_PROGRAM, _OWN],
            default=_PROGRAM,
            required=True,
            key="inference.rung",
            help=f"{esc(factory.name, 80)} was given on the command line: it is imported and run in the process that "
            "runs models.",
        )
        if chosen != _OWN:
            return recorded
    found = recorded
    with refusal("factory"):
        found = inference_session.own_model(path, version, device, recorded)
    return found
