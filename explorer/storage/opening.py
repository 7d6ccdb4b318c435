"""Opening files of a run to read them: a link is not followed, a pipe does not make the reader wait."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from explorer.errors import DamagedFile

READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def open_regular(path: str | Path) -> tuple[int, os.stat_result]:
    """Return a descriptor for reading, which the caller closes, and what is known of the file that it is.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it is a link or no regular file, or may not be read.
    """
    try:
        fd = os.open(path, READ_ONLY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFile(path, f"cannot be opened ({error.strerror})") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise DamagedFile(path, "is not a regular file")
    return fd, found
