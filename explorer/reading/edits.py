"""What a user changes in the app: names, tags, notes, the archive, and a trash from which everything comes back.

What was recorded is never written to: edits live in `user.json` beside it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from explorer.errors import DamagedFile, RootError, RunNotFound, UsageError
from explorer.reading.catalogue import Catalogue
from explorer.reading.info import RunInfo
from explorer.storage.disk import Disk
from explorer.storage.layout import RunPaths, is_run_dir, is_run_id
from explorer.storage.records import Record, read_json, write_json

TRASH: Final = ".trash"
MAX_NAME_CHARS: Final = 1_000
MAX_NOTES_CHARS: Final = 1_000_000
MAX_TAGS: Final = 1_000


def write_user(
    run_dir: str | Path,
    *,
    name: str | None = None,
    tags: Iterable[str] | None = None,
    notes: str | None = None,
    archived: bool | None = None,
) -> None:
    """Change what is given and keep what is not. An empty name brings the recorded one back.

    A damaged `user.json` is kept as `user.json.damaged` and a new one is begun.

    Raises:
        RunNotFound: there is no run in this folder.
        UsageError: a text is too long.
        OSError: the folder cannot be written.
    """
    if not is_run_dir(run_dir):
        raise RunNotFound(f"there is no run in {run_dir}")
    path = RunPaths(Path(run_dir)).user_json
    user = _read_or_set_aside(path)
    if name is not None:
        user["name"] = _checked(name.strip(), "a name", MAX_NAME_CHARS)
    if notes is not None:
        user["notes"] = _checked(notes, "notes", MAX_NOTES_CHARS)
    if tags is not None:
        user["tags"] = _checked_tags(tags)
    if archived is not None:
        user["archived"] = bool(archived)
    write_json(path, user, disk=Disk(), indent=1)


def archive(run_dir: str | Path, archived: bool = True) -> None:
    """Put a run into the archive, or take it out. Raises as `write_user`."""
    write_user(run_dir, archived=archived)


def move_to_trash(root: str | Path, run_id: str) -> Path:
    """Move a run into the root's trash; nothing is deleted. Returns where it is now.

    Raises:
        RunNotFound: the root has no such run.
        UsageError: the trash already holds a run of this id.
        RootError: the trash is a link or a file.
        OSError: the root cannot be written.
    """
    source = _run_in(Path(root), run_id)
    trash = _trash(root)
    trash.mkdir(exist_ok=True)
    target = trash / source.name
    if os.path.lexists(target):
        raise UsageError(f"the trash already holds a run {source.name}; restore it or empty the trash first")
    os.rename(source, target)
    return target


def restore(root: str | Path, run_id: str) -> Path:
    """Bring a run back from the trash. Returns where it is now.

    Raises:
        RunNotFound: the trash has no such run.
        UsageError: the root has a run of this id again.
        RootError: the trash is a link or a file.
        OSError: the root cannot be written.
    """
    source = _run_in(_trash(root), run_id)
    target = Path(root) / source.name
    if os.path.lexists(target):
        raise UsageError(f"{root} already has a run {source.name}; move that one away first")
    os.rename(source, target)
    return target


def list_trash(root: str | Path) -> list[RunInfo]:
    """The runs in the trash, newest first. Raises RootError when the trash is a link or cannot be read."""
    trash = _trash(root)
    return Catalogue(trash).refresh() if trash.is_dir() else []


def empty_trash(root: str | Path, run_ids: Iterable[str] | None = None) -> int:
    """Delete runs in the trash for good: those named, or all. Returns how many.

    Raises:
        RunNotFound: the trash has no such run.
        RootError: the trash is a link or cannot be read.
        OSError: a file cannot be deleted.
    """
    trash = _trash(root)
    names = [info.run_id for info in list_trash(root)] if run_ids is None else list(run_ids)
    doomed = [_run_in(trash, name) for name in names]
    for run_dir in doomed:
        shutil.rmtree(run_dir)
    return len(doomed)


def _run_in(folder: Path, run_id: str) -> Path:
    """The run's folder, by a name that the folder itself lists: a text from a link or a form never becomes a path."""
    if is_run_id(run_id) and folder.is_dir():
        for name in os.listdir(folder):
            if name == run_id and is_run_dir(folder / name):
                return folder / name
    raise RunNotFound(f"there is no run {run_id!r} in {folder}")


def _trash(root: str | Path) -> Path:
    trash = Path(root) / TRASH
    if trash.is_symlink() or (trash.exists() and not trash.is_dir()):
        raise RootError(f"{trash} is a link or a file; a folder was expected. Move it away")
    return trash


def _read_or_set_aside(path: Path) -> Record:
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except DamagedFile:
        os.replace(path, path.with_name(path.name + ".damaged"))
        return {}


def _checked(text: str, what: str, max_chars: int) -> str:
    if len(text) > max_chars:
        raise UsageError(f"{what} of {len(text):,} characters is too long; at most {max_chars:,} are kept")
    return text


def _checked_tags(tags: Iterable[str]) -> list[str]:
    if isinstance(tags, str):
        raise UsageError(f"tags are a list of texts; found the text {tags!r}")
    kept = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(kept) > MAX_TAGS:
        raise UsageError(f"{len(kept):,} tags are too many; at most {MAX_TAGS:,} are kept")
    return [_checked(tag, "a tag", MAX_NAME_CHARS) for tag in kept]
