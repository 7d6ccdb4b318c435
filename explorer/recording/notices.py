"""What could not be recorded: said once, counted, and kept in the run."""

from __future__ import annotations

import sys
import warnings

from explorer.errors import RecorderWarning

MAX_KEPT = 50


class Notices:
    """Warnings of one recorder.

    Attributes:
        messages: each distinct thing that went wrong, at most 50.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._seen: set[str] = set()

    def warn(self, about: str, message: str) -> None:
        """Say it, unless the same thing was said before. Never raises, even where warnings are errors."""
        if about in self._seen:
            return
        self._seen.add(about)
        if len(self.messages) < MAX_KEPT:
            self.messages.append(message)
        try:
            warnings.warn(message, RecorderWarning, stacklevel=4)
        except RecorderWarning:
            print(f"explorer: {message}", file=sys.stderr)
