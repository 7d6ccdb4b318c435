"""How a training can end, and what the recorder does then."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Protocol


class Closable(Protocol):
    """What can be closed with a final state, and told that it lives in a forked process now."""

    def stop_in_child(self) -> None:
        """Record nothing any more; touch nothing that the parent uses."""

    def close(self, *, state: str | None = None, error: BaseException | None = None) -> None:
        """Write everything and end."""


def state_after(error: BaseException | None) -> str:
    """The state of a run that this exception ended: finished, failed, or killed when the user interrupted it."""
    if error is None or isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
        return "finished"
    return "killed" if isinstance(error, KeyboardInterrupt) else "failed"


def _last_error() -> BaseException | None:
    """The last error whose traceback was printed: the one that ends a script, or any earlier one of a notebook."""
    return getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)


class ExitHooks:
    """Closes a recorder at the end of the interpreter and on SIGTERM, and stops it in forked processes.

    Those share the journal's memory with it. Until `remove`, a recorder that nobody holds stays open.

    A handler of SIGTERM that was there decides: when it returns, the training goes on (it may have a checkpoint to
    finish) and so does the recorder; when it raises, the run was killed. If there was none, the recorder is closed and
    the process dies of the signal as it would have, once each of several recorders is closed. A handler that the
    training installs later wins. Outside the main thread no handler is installed.

    Python calls a handler between two instructions of the main thread. While that thread is within a long call in C (a
    large multiplication, a collective operation that hangs), SIGTERM therefore takes effect only after it, where
    without a handler it would end the process at once: what then ends it is SIGKILL, as launchers send it after a
    while. That costs no row: they are in the journal. Nothing gentler is safe from here (`signal.set_wakeup_fd` belongs
    to event loops, a signal mask is inherited by every child); a training that needs the default has it with
    ``signal.signal(signal.SIGTERM, signal.SIG_DFL)`` after making its recorders.
    """

    def __init__(self, recorder: Closable) -> None:
        self._recorder: Closable | None = recorder
        self._previous: Any = None
        self._installed = False
        self._error_before = _last_error()
        atexit.register(self._at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGTERM)
            if before == signal.SIG_DFL or callable(before):
                self._previous = before
                signal.signal(signal.SIGTERM, self._on_signal)
                self._installed = True

    def remove(self) -> None:
        """Put everything back as it was. Does nothing the second time."""
        self._recorder = None
        atexit.unregister(self._at_exit)
        if self._installed and threading.current_thread() is threading.main_thread():
            self._installed = False
            if signal.getsignal(signal.SIGTERM) == self._on_signal:
                signal.signal(signal.SIGTERM, _without_closed(self._previous))

    def _in_child(self) -> None:
        if self._recorder is not None:
            self._recorder.stop_in_child()

    def _at_exit(self) -> None:
        recorder = self._recorder
        error = _last_error()
        if recorder is not None:
            recorder.close(error=None if error is self._error_before else error)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        recorder, previous = self._recorder, _without_closed(self._previous)
        if callable(previous) and not _ends_process(previous):
            try:
                previous(number, frame)
            except BaseException:
                if recorder is not None:
                    recorder.close(state="killed", error=None)
                raise
            return
        if recorder is not None:
            recorder.close(state="killed", error=None)
        if callable(previous):  # an older recorder's
            previous(number, frame)
            return
        with contextlib.suppress(ValueError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _hooks_of(handler: Any) -> ExitHooks | None:  # noqa: ANN401 - whatever signal.getsignal gives
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, ExitHooks) else None


def _without_closed(handler: Any) -> Any:  # noqa: ANN401
    """The handler, or what was there before when its recorder has been closed since."""
    while (hooks := _hooks_of(handler)) is not None and hooks._recorder is None:
        handler = hooks._previous
    return handler


def _ends_process(handler: Any) -> bool:  # noqa: ANN401
    """Whether nobody but recorders handles the signal, so that the process dies of it."""
    while (hooks := _hooks_of(handler)) is not None:
        handler = hooks._previous
    return bool(handler == signal.SIG_DFL)
