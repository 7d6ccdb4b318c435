"""The writer thread's part of watching: rows of the table `tensors`, scalars, and the record of the model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorer.recording.notices import Notices
from explorer.recording.stream import Row
from explorer.recording.watching.drafts import Draft
from explorer.recording.watching.record import ModelBook
from explorer.storage import records
from explorer.storage.disk import Disk
from explorer.storage.tensors import TensorRow, TensorSegments

FLUSH_S = 2.0
FLUSH_SHARE = 20  # times the last flush took: no more than 5 % of a core
MAX_WAITING_ROWS = 20_000


class WatchTask:
    """See `tasks.Task`.

    Attributes:
        name: its key in the summary.
        book: what is known of the model.
        num_failed: looks that came to nothing because something in them failed.
    """

    name = "watch"

    def __init__(
        self,
        run_dir: Path,
        attempt: int,
        rank: int,
        wall_minus_monotonic_ns: int,
        put: Callable[[Row], object],
        notices: Notices,
        disk: Disk,
    ) -> None:
        self.book = ModelBook()
        self.num_failed = 0
        self._segments = TensorSegments(run_dir, attempt, rank, disk)
        self._record_path = run_dir / "model" / f"{attempt:04d}-{rank:05d}.json"
        self._wall_minus_monotonic_ns = wall_minus_monotonic_ns
        self._put, self._notices, self._disk = put, notices, disk
        self._waiting: deque[Draft] = deque()
        self._waiting_rows = 0
        self._num_looks = self._num_refused = 0
        self._flush_due = 0.0
        self._saved_version = 0

    # The training's side.

    def take(self, draft: Draft) -> None:
        """Hand over a look. It is given up when the writer is far behind."""
        if self._waiting_rows + len(draft.rows) > MAX_WAITING_ROWS:
            self._num_refused += len(draft.rows)
            self._notices.warn("watch waiting", "the writer is behind: looks into the model are left out meanwhile")
            return
        self._waiting_rows += len(draft.rows)
        self._waiting.append(draft)

    # The writer's side; one thread.

    def tick(self) -> None:
        """See `tasks.Task`."""
        self._take_in(wait=False)
        if time.monotonic() >= self._flush_due:
            began = time.monotonic()
            self._segments.flush()
            self._save_record()
            self._flush_due = time.monotonic() + max(FLUSH_S, FLUSH_SHARE * (time.monotonic() - began))

    def finish(self) -> None:
        """See `tasks.Task`."""
        self._take_in(wait=True)
        self._save_record()
        self._segments.finish()

    def describe(self) -> dict[str, Any]:
        """See `tasks.Task`."""
        return {
            "looks": self._num_looks,
            "rows": self._segments.num_rows,
            "dropped_rows": self._segments.num_dropped + self._num_refused,
            "failed": self.num_failed,
        }

    def _take_in(self, *, wait: bool) -> None:
        while self._waiting and (wait or self._waiting[0].ready()):
            draft = self._waiting.popleft()
            self._waiting_rows -= len(draft.rows)
            try:
                draft.arrive()
                self._add(draft)
            except Exception as error:
                self.num_failed += 1
                what = f"a look into the model at step {draft.step} is lost ({type(error).__name__}: {error})"
                self._notices.warn("watch lost", what)
                if isinstance(error, TimeoutError):  # the device hangs: wait for it once, not for each look
                    self.num_failed += len(self._waiting)
                    self._waiting.clear()
                    self._waiting_rows = 0

    def _add(self, draft: Draft) -> None:
        wall_time = (draft.monotonic_ns + self._wall_minus_monotonic_ns) // 1_000
        rows = [row.finish(draft.step, wall_time) for row in draft.rows]
        self._say_which_labels_are_in_no_bin(rows)
        found = {name: value() for name, value in draft.scalars.items()}
        self._segments.add(rows)
        self._num_looks += 1
        scalars = {name: float(value) for name, value in found.items() if value is not None}
        if scalars:
            names, values = tuple(scalars), tuple(scalars.values())
            self._put(Row(draft.step, draft.monotonic_ns, names, "d" * len(names), values))

    def _say_which_labels_are_in_no_bin(self, rows: list[TensorRow]) -> None:
        for row in rows:
            if row.kind == "labels" and row.counts is not None and int(row.counts.sum()) < row.n:
                what = (
                    f"{row.name} has numbers beyond -32,768 to 32,767: they are in no bin of the histogram, only in "
                    "its n, mean, std, min and max. Log labels - 32_768 as a second series to count them"
                )
                self._notices.warn(f"labels {row.name}", what)

    def _save_record(self) -> None:
        version = self.book.version
        if version != self._saved_version:
            self._disk.make_dir(self._record_path.parent)
            records.write_json(self._record_path, self.book.describe(), disk=self._disk)
            self._saved_version = version
