"""Wait for an answer without holding up the page: what takes long can be stopped, and other clicks go through."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import streamlit as st

T = TypeVar("T")
Progress = Callable[[int, int | None], None]

_QUIET_S: Final = 0.4
_LOOK_S: Final = 0.15


@dataclass
class _Job:
    """What a thread works on, and how far it is."""

    done: threading.Event = field(default_factory=threading.Event)
    is_wanted: bool = True
    progress: tuple[int, int | None] | None = None
    answer: Any = None
    error: BaseException | None = None

    def work(self, job: Callable[[Progress, Callable[[], bool]], Any]) -> None:
        try:
            self.answer = job(self.tell, lambda: self.is_wanted)
        except BaseException as error:  # handed over to the page's thread, which raises it
            self.error = error
        finally:
            self.done.set()

    def tell(self, done: int, total: int | None) -> None:
        self.progress = (done, total)


def waited(
    job: Callable[[Progress, Callable[[], bool]], T],
    cancel: Callable[[], None],
    label: Callable[[], str],
    *,
    on_stop: Callable[[], None],
    key: str,
    on_progress: Progress | None = None,
) -> T:
    """Do a job in another thread and wait for it.

    Streamlit ends a script where it draws something: after a moment the waiting draws the time that passed, so that a
    click anywhere ends it, cancels the job, and is served.

    Args:
        job: called with a function to tell progress and one that says whether the answer is still wanted.
        cancel: stops what runs.
        label: what is going on, as the beginning of a sentence.
        on_stop: called when the button is clicked, before the page is drawn again.
        key: of the question, for the button.
        on_progress: called with the progress, in this thread.

    Raises:
        What the job raises.
    """
    state = _Job()
    threading.Thread(target=state.work, args=(job,), daemon=True).start()
    began_s = time.monotonic()
    try:
        if not state.done.wait(_QUIET_S):
            place = st.empty()
            _wait(state, place, label, on_stop, key, on_progress, began_s)
            place.empty()
    except BaseException:
        state.is_wanted = False
        cancel()
        raise
    if state.error is not None:
        raise state.error
    answer: T = state.answer
    return answer


def _wait(
    state: _Job,
    place: Any,  # noqa: ANN401 - a DeltaGenerator
    label: Callable[[], str],
    on_stop: Callable[[], None],
    key: str,
    on_progress: Progress | None,
    began_s: float,
) -> None:
    with place.container(horizontal=True, vertical_alignment="center"):
        line = st.empty()
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        st.button("Stop", key=f"inference.stop.{name}", icon=":material/stop_circle:", on_click=on_stop)
    while True:
        line.caption(f":material/hourglass_top: {label()} … {time.monotonic() - began_s:.0f} s", width="content")
        if on_progress is not None and state.progress is not None:
            on_progress(*state.progress)
        if state.done.wait(_LOOK_S):
            return
