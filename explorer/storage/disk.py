"""The few operations that we do on a disk, in one object, so that tests can make each of them fail in turn."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from pathlib import Path


class Disk:
    """Real files. Every method may raise OSError; none leaves half a file under the final name."""

    def make_dir(self, path: Path) -> None:
        """Create a folder and those above it; an existing one is fine."""
        path.mkdir(parents=True, exist_ok=True)

    def write_file(self, path: Path, data: bytes | memoryview, *, sync: bool) -> None:
        """Put a whole file in place: a hidden temporary file beside it, then a rename over the final name.

        With `sync` the content and the folder are forced to the device before this returns.
        """
        temporary = temporary_beside(path)
        try:
            self.write_bytes(temporary, data, sync=sync)
            self.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if sync:
            self.sync_dir(path.parent)

    def write_bytes(self, path: Path, data: bytes | memoryview, *, sync: bool) -> None:
        """Write a file under this very name."""
        with open(path, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if sync:
                os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Rename, replacing the target."""
        os.replace(source, target)

    def claim(self, path: Path, data: bytes) -> bool:
        """Create a whole file unless there is one of that name; tell whether it is ours now.

        Where the file system has no hard links it is empty for a moment.
        """
        temporary = temporary_beside(path)
        try:
            self.write_bytes(temporary, data, sync=True)
            return _put_unless_there(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def sync_dir(self, path: Path) -> None:
        """Force a folder's entries to the device, where the system can."""
        try:
            fd = os.open(path, os.O_RDONLY)
        except PermissionError:  # Windows opens no folders
            return
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def open_new(self, path: Path, size: int) -> int:
        """Create a file of `size` bytes with its space reserved, so that no later write finds the disk full.

        Returns an open descriptor. With size 0 nothing is reserved.
        """
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        try:
            if size:
                os.posix_fallocate(fd, 0, size)
        except BaseException:
            os.close(fd)
            os.unlink(path)
            raise
        return fd

    def append(self, fd: int, data: memoryview) -> None:
        """Write all of it at the descriptor's position."""
        while data:
            data = data[os.write(fd, data) :]

    def begin_writing(self, fd: int, start: int, size: int) -> None:
        """Have the device begin with bytes that were just appended, so that `sync` finds less to wait for.

        It is a hint: Linux starts to write what is told to be not needed soon, and keeps it until that is done. The
        last page is left out as a rule, for the next bytes come into it.
        """
        size -= (start + size) % mmap.PAGESIZE
        if hasattr(os, "posix_fadvise"):  # macOS has none
            with contextlib.suppress(OSError):  # where a file system does not take it, `sync` does all
                os.posix_fadvise(fd, start, max(size, 1), os.POSIX_FADV_DONTNEED)

    def sync(self, fd: int) -> None:
        """Force a file's content to the device."""
        getattr(os, "fdatasync", os.fsync)(fd)  # macOS has only the latter

    def remove(self, path: Path) -> None:
        """Delete a file; one that is gone already is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def temporary_beside(path: Path) -> Path:
    """A hidden name beside it that nobody else takes, on another machine with the same process id either."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(6)}.tmp")


def _put_unless_there(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: claim the name first, then fill it
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True
