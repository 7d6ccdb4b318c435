"""What the recorder itself costs, measured while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

SAMPLE_EVERY_S = 0.25


class Overhead:
    """Samples calls of `log()` at random moments, so that the calls in between carry no timer.

    Attributes:
        wanted: set when the next call should be timed; the recorder clears it.
        writer_s: CPU seconds of the writer thread so far.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._next = 0.0
        self._sum_ns = 0
        self._calls = 0
        self._worst_ns = 0
        self.wanted = False
        self.writer_s = 0.0

    def ask_for_sample(self) -> None:
        """Have the next call timed, a few times a second. Called by the writer thread."""
        now = time.monotonic()
        if now >= self._next and not self.wanted:
            self._next = now + SAMPLE_EVERY_S
            self.wanted = True
            self._interrupt()

    def add(self, elapsed_ns: int) -> None:
        """One timed call."""
        self._sum_ns += elapsed_ns
        self._calls += 1
        self._worst_ns = max(self._worst_ns, elapsed_ns)

    def describe(self, calls: int, duration_s: float) -> dict[str, float | int | None]:
        """Totals for the summary.

        Returns:
            ``calls``, ``samples`` (timed calls), ``caller_us_per_call`` (mean wall time of the timed calls, None before
            the first), ``caller_worst_us``, ``caller_s`` (mean times calls), ``writer_s`` (CPU), and ``fraction``:
            (caller_s + writer_s) / duration.
        """
        mean_us = self._sum_ns / self._calls / 1e3 if self._calls else None
        caller_s = (mean_us or 0.0) * calls / 1e6
        return {
            "calls": calls,
            "samples": self._calls,
            "caller_us_per_call": None if mean_us is None else round(mean_us, 3),
            "caller_worst_us": round(self._worst_ns / 1e3, 3),
            "caller_s": round(caller_s, 6),
            "writer_s": round(self.writer_s, 6),
            "fraction": round((caller_s + self.writer_s) / duration_s, 9) if duration_s > 0 else 0.0,
        }
