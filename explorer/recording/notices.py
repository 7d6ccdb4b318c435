"""What could not be recorded: said once, counted, and kept in the run."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

from explorer.errors import RecorderWarning

MAX_KEPT = 60
MAX_OF_MANY = 50


class Notices:
    """Warnings of one recorder.

    Attributes:
        messages: each distinct thing that went wrong, at most 60.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._seen: set[str] = set()
        self._num_of_many = 0
        self._is_held = False
        self._waiting: list[str] = []

    def warn(self, about: str, message: str, *, of_many: bool = False) -> None:
        """Say it, unless the same thing was said before. Never raises, even where warnings are errors.

        With `of_many` it is about one of any number of things, such as metrics: the first 50 of those are said.
        """
        if about in self._seen or (of_many and self._num_of_many >= MAX_OF_MANY):
            return
        self._seen.add(about)
        if len(self.messages) < MAX_KEPT:
            self.messages.append(message)
        self._num_of_many += of_many
        if of_many and self._num_of_many == MAX_OF_MANY:
            message += " (there are many such warnings: further ones are not shown)"
        self._waiting.append(message)
        if not self._is_held:
            self._show()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Show what is said meanwhile, by any thread, afterwards: warnings and standard error are shut for a while."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self._show()

    def _show(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has shown the rest
            while self._waiting:
                message = self._waiting.pop(0)
                try:
                    warnings.warn(message, RecorderWarning, stacklevel=5)
                except Exception:  # warnings are errors here, or whoever shows them has failed
                    say(message)


def say(message: str) -> None:
    """One line on standard error; nothing where that is closed, or is in the middle of a line of its own."""
    if sys.stderr is not None:
        with contextlib.suppress(Exception):  # whatever stands there in place of a file
            print(f"explorer: {message}", file=sys.stderr)
