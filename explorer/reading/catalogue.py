"""The runs of a root, listed from one small file each.

A look costs three `lstat` for a run that has not changed, and the reading of one JSON file for one that has or that is
new. No series and no Parquet file is touched.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Final, cast

from explorer.errors import FileError, RootError, RunNotFound
from explorer.reading.info import MetricSummary, RunInfo, runs_table
from explorer.reading.liveness import Liveness, Pulse
from explorer.reading.summaries import Stamp, make_info, read_summary
from explorer.storage.layout import is_run_id, parse_process_file
from explorer.storage.records import Record, read_json

__all__ = ["Catalogue", "MetricSummary", "RunInfo", "read_info", "runs_table"]

# A folder's time stamp moves in steps of up to 10 ms (2 s on some file systems), so a change right after a look can
# hide behind the same stamp. Stamps younger than this are not believed.
_SETTLED_NS: Final = 3_000_000_000
_NEVER: Final = (0, 0, 0)  # the stamp of no file
_UNSEEN: Final = (0, 0)  # time and size of a folder that was listed, but not looked at itself
METRICS_DAMAGED: Final = "summary: the totals of the metrics cannot be decoded"


@dataclass(slots=True)
class _Known:
    """What is remembered of one run between two looks."""

    folder: Stamp
    """Of a new run, the folder's inode as the root lists it; the rest is found out at the second look."""
    user: Record | str | None = None
    """The user's edits, or what is wrong with them."""
    summaries: Stamp | None = None
    files: dict[str, tuple[Stamp, Record | str | None]] = field(default_factory=dict)
    """The summary of each attempt by file name, oldest first, or what is wrong with it; None if there is only one: all
    of it that counts is in `info`, and it is read again should that have to be made anew."""
    num_attempts: int = 0
    num_ranks: int = 0
    info: RunInfo | None = None
    pulse: Pulse | None = None


class Catalogue:
    """The runs of one root, looked at again at each `refresh`. Thread-safe.

    A run that did not change keeps its object, so `is` tells whether there is anything new.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._prefix = f"{self.root}{os.sep}"
        self._known: dict[str, _Known] = {}
        self._liveness = Liveness()
        self._lock = threading.Lock()

    def refresh(self) -> list[RunInfo]:
        """All runs, newest first by `created`, then by run id.

        Hidden folders, links and folders without a `run.json` are no runs. A run with damaged files is listed with its
        `problems`.

        Raises:
            RootError: the root is missing, is no folder, or may not be read.
        """
        with self._lock:
            listed = self._list_folders()
            for gone in self._known.keys() - listed.keys():
                del self._known[gone]
                self._liveness.forget(gone)
            infos = [info for name, inode in listed.items() if (info := self._look(name, inode)) is not None]
        return sorted(infos, key=attrgetter("created", "run_id"), reverse=True)

    def look(self, run_id: str) -> RunInfo:
        """One run, looked at again.

        Raises:
            RunNotFound: the root has no such run.
        """
        with self._lock:
            info = self._look(run_id) if is_run_id(run_id) else None
        if info is None:
            raise RunNotFound(f"there is no run {run_id!r} in {self.root}")
        return info

    def _list_folders(self) -> dict[str, int]:
        """Inodes of all folders that could be runs, by name."""
        try:
            with os.scandir(self.root) as entries:
                return {e.name: e.inode() for e in entries if is_run_id(e.name) and e.is_dir(follow_symlinks=False)}
        except FileNotFoundError:
            raise RootError(f"there is no folder {self.root}; record a run into it, or choose another one") from None
        except NotADirectoryError:
            raise RootError(f"{self.root} is a file; a folder of runs was expected") from None
        except OSError as error:
            raise RootError(f"{self.root} cannot be read ({error.strerror}); check its permissions") from error

    def _look(self, run_id: str, inode: int | None = None) -> RunInfo | None:
        """Look at one run; `inode` is that of its folder if the root was just listed."""
        run_dir = f"{self._prefix}{run_id}"
        known = self._known.get(run_id)
        if known is None and inode is not None:
            known, changed = _Known((inode, *_UNSEEN), _read_user(run_dir)), True
        else:
            folder = _stamp(run_dir, stat.S_ISDIR)
            if folder is None:
                return None
            if known is None or known.folder[0] != folder[0]:
                known, changed = _Known(folder), True
            else:
                # A run without totals is described by other files of its folder.
                changed = known.folder != folder and (known.folder[1:] != _UNSEEN or not known.files)
            if changed or known.folder != folder or not _is_settled(folder):
                known.folder = folder
                user = _read_user(run_dir)
                changed = changed or user != known.user
                known.user = user
        changed = _read_summaries(known, f"{run_dir}{os.sep}summary") or changed
        if not known.files and _stamp(f"{run_dir}{os.sep}run.json", stat.S_ISREG) is None:
            self._known.pop(run_id, None)
            return None
        self._known[run_id] = known
        if changed or known.info is None:
            known.info, known.pulse = make_info(
                run_dir,
                records=_take_records(known, f"{run_dir}{os.sep}summary{os.sep}"),
                user=known.user or {},
                num_attempts=known.num_attempts,
                num_ranks=known.num_ranks,
            )
        return self._as_of_now(run_id, known)

    def _as_of_now(self, run_id: str, known: _Known) -> RunInfo:
        info = cast(RunInfo, known.info)
        if known.pulse is not None:
            state = self._liveness.state(run_id, known.pulse)
            if state != info.state:
                info = known.info = replace(info, state=state)
        if getattr(info.metrics, "is_damaged", False) and METRICS_DAMAGED not in info.problems:
            info = known.info = replace(info, problems=(*info.problems, METRICS_DAMAGED))
        return info


def _read_user(run_dir: str) -> Record | str | None:
    path = f"{run_dir}{os.sep}user.json"
    if not os.access(path, os.F_OK):  # without the exception that `lstat` raises for nearly every run
        return None
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except FileError as error:
        return f"user.json: {error.reason}"


def _read_summaries(known: _Known, folder: str) -> bool:
    """Read again what has changed; tell whether anything has."""
    stamp = _stamp(folder, stat.S_ISDIR)
    if stamp is None:
        changed = bool(known.files)
        known.files, known.summaries, known.num_attempts, known.num_ranks = {}, None, 0, 0
        return changed
    if stamp == known.summaries and _is_settled(stamp):
        newest = next(reversed(known.files), None)
        if newest is None or _stamp(f"{folder}{os.sep}{newest}", stat.S_ISREG) == known.files[newest][0]:
            return False
    try:
        names = os.listdir(folder)
    except OSError as error:  # no permission, or deleted since: this run's problem, not that of the list
        before, problem = known.files, f"summary cannot be read ({error.strerror}); check its permissions"
        known.files, known.summaries, known.num_attempts, known.num_ranks = {"": (_NEVER, problem)}, None, 0, 0
        return known.files != before
    named = sorted([(*parsed, name) for name in names if (parsed := parse_process_file(name))])
    files = {}
    attempt = -1
    for number, _, name in named:
        if number == attempt:  # one file for each: that of rank 0, or of the lowest rank there is
            continue
        attempt = number
        entry = _read_if_changed(f"{folder}{os.sep}{name}", name, known.files.get(name))
        if entry is not None:
            files[name] = entry
    known.num_attempts, known.num_ranks = len(files), len({rank for _, rank, _ in named})
    before, known.files, known.summaries = known.files, files, stamp
    return list(files.values()) != list(before.values())


def _take_records(known: _Known, prefix: str) -> list[Record | str]:
    """The summaries, or what is wrong with each. Of most runs there is one, which is not worth its memory twice."""
    found: list[Record | str] = []
    for name, (stamp, record) in known.files.items():
        if record is None:
            again = _read_if_changed(f"{prefix}{name}", name, None)
            record = f"summary/{name}: is gone" if again is None or again[1] is None else again[1]
        found.append(record)
        known.files[name] = stamp, record
    if len(found) == 1 and isinstance(found[0], dict):
        known.files[name] = stamp, None
    return found


def read_info(run_dir: str | Path) -> RunInfo:
    """The catalogue's entry of one run, anywhere on disk and under any name; a link that the user names is followed.

    Raises:
        RunNotFound: there is no run in this folder.
    """
    path = Path(os.path.realpath(run_dir))
    info = Catalogue(path.parent)._look(path.name) if path.name else None
    if info is None:
        raise RunNotFound(f"there is no run in {run_dir}: a folder with a run.json was expected")
    return info


def _stamp(path: str, is_kind: Callable[[int], bool]) -> Stamp | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if is_kind(found.st_mode) else None


def _is_settled(stamp: Stamp) -> bool:
    return time.time_ns() - stamp[1] > _SETTLED_NS


def _read_if_changed(
    path: str, name: str, before: tuple[Stamp, Record | str | None] | None
) -> tuple[Stamp, Record | str | None] | None:
    if before is not None and before[0] == _stamp(path, stat.S_ISREG):
        return before
    try:
        return read_summary(path)
    except FileNotFoundError:
        return None
    except FileError as error:
        return _stamp(path, stat.S_ISREG) or _NEVER, f"summary/{name}: {error.reason}"
