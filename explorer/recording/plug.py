"""What the parts of the recorder that work on a model use of an open recorder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from explorer.recording.notices import Notices
from explorer.recording.overhead import Overhead
from explorer.recording.tasks import Task
from explorer.storage.disk import Disk


@dataclass
class Plug:
    """Held by the recorder while it is open.

    Attributes:
        run_dir, attempt, rank, disk, notices, overhead: the recorder's own.
        tasks: the writer thread's; a part adds its own when it is first used.
        last_step: the step of the newest row of metrics, or None.
        pid: the process that records.
        ended: the recorder has been closed.
    """

    run_dir: Path
    attempt: int
    rank: int
    disk: Disk
    notices: Notices
    overhead: Overhead
    tasks: list[Task]
    last_step: Callable[[], int | None]
    pid: int = field(default_factory=os.getpid, init=False)
    ended: bool = field(default=False, init=False)

    @property
    def is_forked(self) -> bool:
        """Whether this is another process, such as a worker of a data loader, which records nothing."""
        return os.getpid() != self.pid
