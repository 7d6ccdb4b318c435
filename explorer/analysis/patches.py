"""A recorded git patch, taken apart by file: what a run changed beyond its commit, and where two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_START = "diff --git "


@dataclass(frozen=True, kw_only=True)
class FilePatch:
    """The changes of one file."""

    file: str
    """Path in the repository, as git wrote it."""
    added: int
    """Lines added."""
    removed: int
    """Lines removed."""
    text: str
    """The file's part of the patch, from its `diff --git` line on."""


def split_patch(patch: str) -> list[FilePatch]:
    """The parts of a patch made by `git diff`, one per file, in the order of the patch.

    Lines before the first `diff --git` line belong to no file and are left out.
    """
    parts: list[list[str]] = []
    for line in patch.split("\n"):
        if line.startswith(_START):
            parts.append([line])
        elif parts:
            parts[-1].append(line)
    return [_file_patch(lines) for lines in parts]


def _file_patch(lines: list[str]) -> FilePatch:
    body = next((i for i, line in enumerate(lines) if line.startswith("@@")), len(lines))
    return FilePatch(
        file=_file_name(lines[:body]),
        added=sum(line.startswith("+") for line in lines[body:]),
        removed=sum(line.startswith("-") for line in lines[body:]),
        text="\n".join(lines).rstrip("\n"),
    )


def _file_name(head: list[str]) -> str:
    for prefix in ("+++ b/", "--- a/", "rename to "):
        for line in head:
            if line.startswith(prefix):
                return line.removeprefix(prefix).rstrip("\t")
    paths = head[0].removeprefix(_START)
    half = len(paths) // 2  # "a/NAME b/NAME": both halves name one file
    return paths[half + 3 :] if paths[2:half] == paths[half + 3 :] else paths


def patch_settings(patches: Mapping[str, str | None]) -> dict[str, dict[str, object]]:
    """Each run's patch as flat settings, one key per changed file, ready for `settings_table`.

    Args:
        patches: Run id to its patch; None or empty for a run without uncommitted changes.

    Returns:
        Run id to file to text such as `+3 -1`. Where two runs changed as many lines of a file but not the same ones,
        a letter tells them apart (`+3 -1 (a)`, `+3 -1 (b)`); an unchanged file is no key.
    """
    parts = {run: {part.file: part for part in split_patch(patch or "")} for run, patch in patches.items()}
    texts: dict[tuple[str, str], list[str]] = {}
    for files in parts.values():
        for part in files.values():
            versions = texts.setdefault((part.file, _counts(part)), [])
            if part.text not in versions:
                versions.append(part.text)
    return {
        run: {file: _label(part, texts[file, _counts(part)]) for file, part in files.items()}
        for run, files in parts.items()
    }


def _counts(part: FilePatch) -> str:
    return f"+{part.added} -{part.removed}"


def _label(part: FilePatch, versions: list[str]) -> str:
    if len(versions) == 1:
        return _counts(part)
    letter = versions.index(part.text)
    return f"{_counts(part)} ({chr(ord('a') + letter) if letter < 26 else letter + 1})"
