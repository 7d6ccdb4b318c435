"""Open a folder to record into: a new run, or the next attempt of one that is there.

No locks and no coordinator: `run.json` and each process's `attempts/` file are claimed by creating them, which only one
process can do. Ranks agree on the run id from what their launcher gave them.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from explorer.errors import DamagedFile, FileError, RootError, RunNotFound, UsageError
from explorer.recording.config import Plain, merge
from explorer.recording.redaction import redact_argv
from explorer.recording.replay import replay_journals
from explorer.storage import layout, process, records
from explorer.storage.disk import Disk
from explorer.storage.layout import FORMAT_VERSION, RunPaths

Resume = Literal["never", "allow", "must"]
MAX_ATTEMPTS = 9_999
CLAIM_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Identity:
    """What the user says of a run when it begins."""

    name: str
    group: str | None
    tags: tuple[str, ...]
    notes: str


@dataclass(frozen=True)
class RunFolder:
    """A folder that is open for recording by this process.

    Attributes:
        run_dir: the run's folder.
        attempt, rank: what this process's files are named after.
        world_size: number of processes the launcher started.
        run: the content of run.json.
        earlier_config: settings of all attempts of earlier launches, of any rank, merged over those of run.json.
        earlier_step: the last step recorded before, or None in a new run.
        problems: what was found damaged in what killed attempts left.
        started: ISO time of this attempt.
        process: host, pid, boot id and start of this process.
    """

    run_dir: Path
    attempt: int
    rank: int
    world_size: int
    run: dict[str, Any]
    earlier_config: Plain
    earlier_step: int | None
    started: str
    process: dict[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def paths(self) -> RunPaths:
        """The places of the run."""
        return RunPaths(self.run_dir)

    def attempt_record(self, config: Plain, more: dict[str, Any]) -> dict[str, Any]:
        """The content of this process's attempts file."""
        return {
            "format": FORMAT_VERSION,
            "attempt": self.attempt,
            "rank": self.rank,
            "world_size": self.world_size,
            "started": self.started,
            "resumed_from_step": self.earlier_step,
            **self.process,
            "argv": redact_argv(sys.argv),
            "config": config,
            **more,
        }


def open_folder(
    root: Path,
    identity: Identity,
    config: Plain,
    *,
    run_id: str | None,
    resume: Resume,
    rank: int | None,
    disk: Disk,
) -> RunFolder:
    """Create or join a run.

    Raises:
        UsageError: the arguments contradict each other or the run.
        RunNotFound: `resume="must"` and there is no such run.
        RootError: the folder cannot be made or written.
        FileError: the run is damaged or newer than this version.
    """
    several = rank is not None
    rank, world_size = _place(rank)
    several |= world_size > 1
    run_id = _choose_id(run_id, identity.name, resume, rank, world_size)
    run_dir = root / run_id
    exists = layout.is_run_dir(run_dir)
    if exists and resume == "never" and not (several and _may_join(run_dir, rank)):
        raise UsageError(
            f'there is a run {run_id} in {root} already: pass resume="allow" to go on with it, or another run_id='
        )
    if not exists and resume == "must":
        raise RunNotFound(f'there is no run {run_id} in {root}, and resume="must" asks for one')
    try:
        for folder in ("attempts", "summary", *layout.TABLES):
            disk.make_dir(run_dir / folder)
        run = _claim_run(run_dir, run_id, identity, config, disk)
        problems = replay_journals(run_dir, disk) if exists else []
        opened = _claim_attempt(run_dir, rank, world_size, run, disk, goes_on=exists and resume != "never")
        return replace(opened, problems=tuple(problems))
    except OSError as error:
        raise RootError(f"cannot record into {run_dir}: {error.strerror or error}. Choose another root=") from error


def _place(rank: int | None) -> tuple[int, int]:
    world_size = _env_int("WORLD_SIZE") or 1
    found = rank if rank is not None else _env_int("RANK") or 0
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 100_000:
        raise UsageError(f"rank should be an integer from 0 to 99,999; found {found!r}")
    return found, max(world_size, found + 1)


def _env_int(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else None


def _may_join(run_dir: Path, rank: int) -> bool:
    """Whether other ranks of this launch may have made the run: this one is not in it, or its launcher restarted it."""
    restarts = (_env_int("TORCHELASTIC_RESTART_COUNT") or 0) + (_env_int("SLURM_RESTART_COUNT") or 0)
    return restarts > 0 or all(of_rank != rank for _, of_rank, _ in layout.list_process_files(run_dir, "attempts"))


def _choose_id(run_id: str | None, name: str, resume: Resume, rank: int, world_size: int) -> str:
    given = run_id or os.environ.get("EXPLORER_RUN_ID")
    if given:
        if not layout.is_run_id(given):
            raise UsageError(
                f"run_id should be up to 80 of A-Z a-z 0-9 . _ - and start with a letter or digit; found {given!r}"
            )
        return given
    if resume == "must":
        raise UsageError('resume="must" needs run_id=, the id of the run to go on with')
    if world_size == 1:
        return layout.make_run_id(name)
    shared = _id_in_store(layout.slug(name), rank) or _id_of_launch()
    if shared is None:
        raise UsageError(
            "several processes record one run: pass the same run_id= on every rank, or set EXPLORER_RUN_ID"
        )
    return f"{layout.slug(name)}-{shared}"[:80]


def _id_in_store(name: str, rank: int) -> str | None:
    """What the first rank to come has put into the store of torch.distributed; None when there is no such store.

    No collective call: where rank 0 alone records, it would wait for the others, or mix up their next call. The n-th
    recorder of a name on one rank belongs to the n-th on every other.
    """
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    try:
        store = distributed.distributed_c10d._get_default_store()
        count = store.add(f"explorer/{name}/rank {rank}", 1)
        mine = layout.make_run_id("x").removeprefix("x-")
        return str(store.compare_set(f"explorer/{name}/{count}", "", mine).decode())
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        return None


def _id_of_launch() -> str | None:
    """What the launcher has told all ranks of this launch; None when it has not."""
    launch = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    if launch == "none":
        launch = os.environ.get("SLURM_JOB_ID", "")
    return re.sub(r"[^A-Za-z0-9]+", "-", launch).strip("-")[:36] or None


def _claim_run(run_dir: Path, run_id: str, identity: Identity, config: Plain, disk: Disk) -> dict[str, Any]:
    path = RunPaths(run_dir).run_json
    record = {
        "format": FORMAT_VERSION,
        "run_id": run_id,
        "name": identity.name,
        "group": identity.group,
        "tags": list(identity.tags),
        "notes": identity.notes,
        "created": now(),
        "config": config,
        "argv": redact_argv(sys.argv),
    }
    if not path.exists() and disk.claim(path, records.encode(record, indent=1)):
        return record
    return _read_claimed(path)


def _read_claimed(path: Path) -> dict[str, Any]:
    """The record that another process has put there; where there are no hard links it is empty for a moment."""
    until = time.monotonic() + CLAIM_TIMEOUT_S
    while True:
        try:
            return records.read_record(path)
        except DamagedFile:
            if path.stat().st_size or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _claim_attempt(
    run_dir: Path, rank: int, world_size: int, run: dict[str, Any], disk: Disk, *, goes_on: bool
) -> RunFolder:
    taken = layout.list_process_files(run_dir, "attempts")
    attempt = 1 + max((number for number, of_rank, _ in taken if of_rank == rank), default=0)
    config, last = _plain(run.get("config")), None
    paths, newest = RunPaths(run_dir), {of_rank: number for number, of_rank, _ in taken}
    for number, of_rank, path in taken:
        if number >= attempt and not goes_on:
            continue
        summary = _read(paths.summary_json(number, of_rank))
        # The others belong to ranks of this launch that were faster. A world that grew has ranks without an attempt
        # of their own: for these, what has ended or was followed by another attempt is of an earlier launch.
        ended = number < newest[of_rank] or summary.get("state", "running") != "running"
        if number >= attempt and not ended:
            continue
        config = merge(config, _plain(_read(path).get("config")))
        step = summary.get("last_step")
        if isinstance(step, int):
            last = step if last is None else max(last, step)
    while attempt <= MAX_ATTEMPTS:
        folder = RunFolder(run_dir, attempt, rank, world_size, run, config, last, now(), process.identify())
        content = records.encode(folder.attempt_record({}, {}))
        if disk.claim(folder.paths.attempt_json(attempt, rank), content):
            return folder
        attempt += 1
    raise UsageError(f"{run_dir} has been started {MAX_ATTEMPTS:,} times, which is the most: record a new run")


def _read(path: Path) -> dict[str, Any]:
    try:
        return records.read_json(path)
    except (FileError, FileNotFoundError):
        return {}  # a damaged record of an earlier attempt costs its own facts only; `verify` names it


def _plain(value: object) -> Plain:
    return value if isinstance(value, dict) else {}


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
