"""What changes when files do: the key under which something that was read from them is kept."""

from __future__ import annotations

import os

Version = tuple[tuple[str, int, int], ...]


def folder_version(run_path: str, *folders: str) -> Version:
    """Return name, size and time of every file right in some folders of a run, in order; a missing folder has none."""
    found = []
    for folder in folders:
        path = os.path.join(run_path, folder)
        if os.path.isdir(path):
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                stat = entry.stat(follow_symlinks=False)
                found.append((f"{folder}/{entry.name}", stat.st_size, stat.st_mtime_ns))
    return tuple(found)
