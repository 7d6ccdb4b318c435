"""What the recorder itself costs, measured while it runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

SAMPLE_EVERY_S = 2.0
MAX_SAMPLES = 1_000


class Overhead:
    """Samples calls of `log()` at random moments, so that the calls in between carry no timer.

    Attributes:
        wanted: set when the next call should be timed; the recorder clears it.
        writer_s: CPU seconds of the writer thread so far.
        sampling_s: CPU seconds that the training's threads have spent on anything but `log()`.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._next = 0.0
        self._timed_ns: deque[int] = deque(maxlen=MAX_SAMPLES)
        self._worst_ns = 0
        self.wanted = False
        self.writer_s = 0.0
        self.sampling_s = 0.0

    def ask_for_sample(self) -> None:
        """Have the next call timed, every two seconds: it takes the long way. Called by the writer thread."""
        now = time.monotonic()
        if now >= self._next and not self.wanted:
            self._next = now + SAMPLE_EVERY_S
            self.wanted = True
            self._interrupt()

    def add(self, elapsed_ns: int) -> None:
        """One timed call."""
        self._timed_ns.append(elapsed_ns)
        self._worst_ns = max(self._worst_ns, elapsed_ns)

    def describe(self, calls: int, duration_s: float) -> dict[str, float | int | None]:
        """Totals for the summary.

        Returns:
            ``calls``, ``samples`` (timed calls, at most the last 1,000), ``caller_us_per_call`` (their median wall
            time, None before the first), ``caller_worst_us`` (which holds whatever else the machine did), ``caller_s``
            (median times calls), ``sampling_s`` (looks into the model and snapshots, CPU in the training's threads),
            ``writer_s`` (CPU), and ``fraction``: (caller_s + sampling_s + writer_s) / duration.
        """
        timed = sorted(self._timed_ns)
        median_us = timed[len(timed) // 2] / 1e3 if timed else None
        caller_s = (median_us or 0.0) * calls / 1e6
        return {
            "calls": calls,
            "samples": len(timed),
            "caller_us_per_call": None if median_us is None else round(median_us, 3),
            "caller_worst_us": round(self._worst_ns / 1e3, 3),
            "caller_s": round(caller_s, 6),
            "sampling_s": round(self.sampling_s, 6),
            "writer_s": round(self.writer_s, 6),
            "fraction": round((caller_s + self.sampling_s + self.writer_s) / duration_s, 9) if duration_s > 0 else 0.0,
        }
