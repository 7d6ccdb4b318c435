"""What earlier attempts have left in the folder of snapshots."""

from __future__ import annotations

import re
from pathlib import Path

from explorer.storage.disk import Disk
from explorer.storage.layout import list_folder

_STEP = re.compile(r"\d{12}", re.ASCII)
_WHOLE = re.compile(r"(\d{4})-(\d{5})\.parquet", re.ASCII)
_HALF = re.compile(r"\.(\d{4})-(\d{5})\.parquet\..*\.?tmp", re.ASCII)


def clean_up_earlier(folder: Path, attempt: int, rank: int, disk: Disk) -> int:
    """Remove the files that a kill has left half written, of earlier attempts of this rank.

    Returns the bytes of this rank's whole files there, which count against a budget but are never deleted: only the
    process that wrote a file may. Raises OSError.
    """
    total = 0
    for step in list_folder(folder):
        if not _STEP.fullmatch(step.name) or not step.is_dir(follow_symlinks=False):
            continue
        for file in list_folder(Path(step.path)):
            half, whole = _HALF.fullmatch(file.name), _WHOLE.fullmatch(file.name)
            found = half or whole
            if found is None or not file.is_file(follow_symlinks=False):
                continue
            if int(found[1]) >= attempt or int(found[2]) != rank:
                continue
            if half:
                disk.remove(Path(file.path))
            else:
                total += file.stat(follow_symlinks=False).st_size
    return total
