"""How far the demo is: a bar in a terminal, plain lines anywhere else."""

import sys
from typing import TextIO

_WIDTH = 28


class Progress:
    """Shows one line that changes in a terminal; elsewhere a line for each step, `` 42%  what``, flushed.

    Args:
        total: amount of work, in units of `advance`.
        stream: where to write; the standard output by default.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._done = 0
        self._stream = stream or sys.stdout
        self._in_terminal = self._stream.isatty()

    def show(self, what: str, done: int | None = None) -> None:
        """Show what is being done, and how much of the total is done when that has changed."""
        self._done = min(self._total, self._done if done is None else done)
        share = self._done / self._total
        if self._in_terminal:
            bar = "█" * round(share * _WIDTH)
            self._write(f"\r\x1b[2K{bar:░<{_WIDTH}} {share:4.0%}  {what[:80]}")
        else:
            self._write(f"{share:4.0%}  {what}\n")

    def note(self, text: str) -> None:
        """Leave a line that stays."""
        self._write(f"\r\x1b[2K{text}\n" if self._in_terminal else f"{text}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
