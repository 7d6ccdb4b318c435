"""Which files a run has and what they are called.

Names of runs, metrics and layers never become paths. Every number in a file name is written with leading zeros, so
that sorting by name sorts by (attempt, rank, segment, part). Readers ignore whatever does not match these patterns,
follow no symbolic link and open regular files only.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple

FORMAT_VERSION = 1
SLUG_MAX_CHARS = 40
RUN_FILE = "run.json"
USER_FILE = "user.json"
DIFF_FILE = "git.diff"
TABLES = ("scalars", "system")
TENSORS = "tensors"
PARAMS = "params"
MODEL = "model"
PROGRAM = "program"
SAMPLES = "samples"

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)
_PROCESS_FILE = re.compile(r"(\d{4})-(\d{5})\.json", re.ASCII)
_TABLE_FILE = re.compile(r"(\d{4})-(\d{5})-(\d{6})(?:\.p([1-9]\d{0,3}))?\.(parquet|journal)", re.ASCII)
_STEP_FOLDER = re.compile(r"\d{12}", re.ASCII)
_SNAPSHOT_FILE = re.compile(r"(\d{4})-(\d{5})\.parquet", re.ASCII)
_PROGRAM_FILE = re.compile(r"(\d{4})-(\d{5})\.json\.gz", re.ASCII)
_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"

Kind = Literal["segment", "journal"]


class SegmentName(NamedTuple):
    """What a table's file name says: `0001-00000-000003.p1.parquet` is attempt 1, rank 0, segment 3, part 1."""

    attempt: int
    rank: int
    segment: int
    part: int = 0
    kind: Kind = "segment"

    @property
    def filename(self) -> str:
        """The name on disk."""
        part = f".p{self.part}" if self.part else ""
        ending = "parquet" if self.kind == "segment" else "journal"
        return f"{self.attempt:04d}-{self.rank:05d}-{self.segment:06d}{part}.{ending}"


class SegmentFile(NamedTuple):
    """One file of a table as it was listed; `identity` changes when the file is another one or has grown."""

    location: str
    name: SegmentName
    size: int
    mtime_ns: int
    inode: int

    @property
    def path(self) -> Path:
        """The location as a path, which takes as long to make as the file takes to open."""
        return Path(self.location)

    @property
    def identity(self) -> tuple[int, int, int]:
        """(size in bytes, modification time in ns, inode)."""
        return (self.size, self.mtime_ns, self.inode)


@dataclass(frozen=True, order=True)
class SnapshotPath:
    """One snapshot file as it was listed; `identity` changes when the file is another one."""

    step: int
    attempt: int
    rank: int
    path: Path
    identity: tuple[int, int, int]
    """(size in bytes, modification time in ns, inode)."""


@dataclass(frozen=True)
class RunPaths:
    """The places of one run; nothing is touched on disk."""

    run_dir: Path

    @property
    def run_json(self) -> Path:
        """The run's identity, written once."""
        return self.run_dir / RUN_FILE

    @property
    def user_json(self) -> Path:
        """What the user edits later; may be absent."""
        return self.run_dir / USER_FILE

    @property
    def git_diff(self) -> Path:
        """Uncommitted changes when the run began; may be absent."""
        return self.run_dir / DIFF_FILE

    def attempt_json(self, attempt: int, rank: int) -> Path:
        """What one process knew when it started."""
        return self.run_dir / "attempts" / f"{attempt:04d}-{rank:05d}.json"

    def summary_json(self, attempt: int, rank: int) -> Path:
        """The state and the totals of one process, replaced at each flush."""
        return self.run_dir / "summary" / f"{attempt:04d}-{rank:05d}.json"

    def program(self, attempt: int, rank: int) -> Path:
        """The computation of the model, as one process captured it."""
        return self.run_dir / PROGRAM / f"{attempt:04d}-{rank:05d}.json.gz"

    def program_constants(self, attempt: int, rank: int) -> Path:
        """Tensors that belong to a program and are no weights; absent when there are none."""
        return self.run_dir / PROGRAM / f"{attempt:04d}-{rank:05d}.constants.parquet"

    def samples(self, attempt: int, rank: int) -> Path:
        """Inputs to run a program on, and what the model gave for them."""
        return self.run_dir / SAMPLES / f"{attempt:04d}-{rank:05d}.parquet"

    def table(self, table: str, name: SegmentName) -> Path:
        """A segment or a journal of a table."""
        return self.run_dir / table / name.filename


def is_run_id(text: str) -> bool:
    """Whether this could be the folder name of a run (so it holds no separator and does not start with a dot)."""
    return _RUN_ID.fullmatch(text) is not None


def is_run_dir(path: str | Path) -> bool:
    """Whether a folder holds a run: a real folder with a regular `run.json`."""
    path = Path(path)
    return path.is_dir() and not path.is_symlink() and _is_regular(path / RUN_FILE)


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def slug(name: str) -> str:
    """An ASCII, lower-case, path-safe form of any name: at most 40 of `a-z 0-9 -`, never empty."""
    ascii_name = unicodedata.normalize("NFKD", name[:400]).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name)[:SLUG_MAX_CHARS].strip("-") or "run"


def make_run_id(name: str) -> str:
    """A new run id: the slug of the name and eight random characters (39 bits)."""
    return f"{slug(name)}-{''.join(secrets.choice(_ID_ALPHABET) for _ in range(8))}"


@lru_cache(maxsize=1_024)  # the same few names stand in the folders of all runs
def parse_process_file(filename: str) -> tuple[int, int] | None:
    """(attempt, rank) of a name in `attempts/` or `summary/`, or None for a name that is not ours."""
    found = _PROCESS_FILE.fullmatch(filename)
    return (int(found[1]), int(found[2])) if found else None


def parse_segment_name(filename: str) -> SegmentName | None:
    """What a name in a table's folder says, or None for a name that is not ours."""
    found = _TABLE_FILE.fullmatch(filename)
    if found is None or (found[4] and found[5] == "journal"):
        return None
    kind: Kind = "segment" if found[5] == "parquet" else "journal"
    return SegmentName(int(found[1]), int(found[2]), int(found[3]), int(found[4] or 0), kind)


def parse_snapshot_path(path: Path) -> tuple[int, int, int] | None:
    """(step, attempt, rank) of a path that ends as `params/000000000100/0001-00000.parquet`; else None."""
    name = _SNAPSHOT_FILE.fullmatch(path.name)
    if name is None or not _STEP_FOLDER.fullmatch(path.parent.name):
        return None
    return int(path.parent.name), int(name[1]), int(name[2])


def list_process_files(run_dir: str | Path, folder: str) -> list[tuple[int, int, Path]]:
    """(attempt, rank, path) of every file in `attempts/` or `summary/`, oldest attempt first; [] when there is none."""
    found = []
    try:
        with os.scandir(Path(run_dir) / folder) as entries:
            for entry in entries:
                parsed = parse_process_file(entry.name)
                if parsed and entry.is_file(follow_symlinks=False):
                    found.append((*parsed, Path(entry.path)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found)


def list_program_files(run_dir: str | Path) -> list[tuple[int, int, Path]]:
    """(attempt, rank, path) of every file in `program/` that is one, oldest attempt first; [] when there is none."""
    found = []
    for entry in list_folder(Path(run_dir) / PROGRAM):
        parsed = _PROGRAM_FILE.fullmatch(entry.name)
        if parsed and entry.is_file(follow_symlinks=False):
            found.append((int(parsed[1]), int(parsed[2]), Path(entry.path)))
    return sorted(found)


def list_snapshot_files(run_dir: str | Path) -> list[SnapshotPath]:
    """Every file in `params/`, sorted by (step, attempt, rank); foreign names, links and folders are left out."""
    found = []
    for folder in list_folder(Path(run_dir) / PARAMS):
        if not _STEP_FOLDER.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
            continue
        for entry in list_folder(Path(folder.path)):
            parsed = parse_snapshot_path(Path(entry.path))
            if parsed is None or not entry.is_file(follow_symlinks=False):
                continue
            try:
                now = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # one that was dropped meanwhile
                continue
            identity = (now.st_size, now.st_mtime_ns, now.st_ino)
            found.append(SnapshotPath(*parsed, Path(entry.path), identity))
    return sorted(found)


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, in no order; [] when there is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_segments(run_dir: str | Path, table: str = "scalars") -> list[SegmentFile]:
    """The files of a table that count, sorted by (attempt, rank, segment, part); [] when there is none.

    Left out are foreign names, links and folders, a journal whose segment exists, and parts whose part 0 does not (it
    is written last, so such a segment is not finished and its journal still holds the rows).
    """
    files: list[SegmentFile] = []
    try:
        with os.scandir(os.path.join(run_dir, table)) as entries:
            for entry in entries:
                name = parse_segment_name(entry.name)
                if name is None or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # a journal that has become a segment meanwhile
                    continue
                files.append(SegmentFile(entry.path, name, found.st_size, found.st_mtime_ns, found.st_ino))
    except (FileNotFoundError, NotADirectoryError):
        return []
    sealed = {f.name[:3] for f in files if f.name.kind == "segment" and f.name.part == 0}
    counted = [f for f in files if (f.name.kind == "segment") == (f.name[:3] in sealed)]
    return sorted(counted, key=attrgetter("name"))


def list_gaps(files: list[SegmentFile]) -> list[str]:
    """One sentence for each missing segment number of the files of one table, such as a file that somebody deleted."""
    numbers: dict[tuple[int, int], set[int]] = {}
    for file in files:
        numbers.setdefault((file.name.attempt, file.name.rank), set()).add(file.name.segment)
    gaps = []
    for (attempt, rank), present in sorted(numbers.items()):
        for missing in sorted(set(range(1, max(present))) - present):
            gaps.append(f"segment {missing} of attempt {attempt}, rank {rank} is missing: its rows are lost")
    return gaps
