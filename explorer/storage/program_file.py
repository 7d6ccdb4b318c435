"""The file of a captured program: gzipped strict JSON, written whole, read with limits."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, Final

from explorer.errors import DamagedFile, NotCaptured, ProgramError
from explorer.storage.disk import Disk
from explorer.storage.opening import open_regular
from explorer.storage.program import Program
from explorer.storage.program_document import parse_program, parse_reasons
from explorer.storage.records import check_format, encode

MAX_COMPRESSED_BYTES: Final = 4 * 2**20
MAX_PROGRAM_BYTES: Final = 64 * 2**20
MAX_VALUES: Final = 2_000_000
"""Of the JSON; each takes far more bytes in memory than in the file. A program of 3,000 nodes has about 100,000."""
NO_ROUTE: Final = "none"
"""What a file has as its route when no route led to a program."""


def write_program(path: Path, document: dict[str, Any], *, disk: Disk) -> int:
    """Write a document that `read_program` accepts. Returns the file's size in bytes. Raises OSError."""
    data = gzip.compress(encode(document), compresslevel=9, mtime=0)
    disk.write_file(path, data, sync=True)
    return len(data)


def read_program(path: str | Path) -> Program:
    """Read and check a program.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is a link, too large, cut, no gzip, no JSON, or not a program.
        UnsupportedFormat: a newer version wrote it.
        NotCaptured: it says why there is no program.
    """
    document = _read_document(Path(path))
    check_format(path, document.get("format"))
    try:
        if document.get("route") == NO_ROUTE:
            raise NotCaptured(_reasons(document))
        return parse_program(document)
    except NotCaptured:
        raise
    except ProgramError as error:
        raise DamagedFile(path, str(error)) from error


def _reasons(document: dict[str, Any]) -> str:
    routes: dict[str, list[str]] = {}
    for route, reason in reversed(parse_reasons(document)):  # the last one ran the model as it is: it tells the most
        routes.setdefault(reason, []).append(route)
    tried = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in routes.items())
    return f"the model could not be captured when it was recorded ({tried or 'no reason was recorded'})"


def _read_document(path: Path) -> dict[str, Any]:
    fd, _ = open_regular(path)
    with open(fd, "rb") as file:
        data = file.read(MAX_COMPRESSED_BYTES + 1)
    if len(data) > MAX_COMPRESSED_BYTES:
        raise DamagedFile(path, f"has more than {MAX_COMPRESSED_BYTES:,} bytes; no program has that")
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(data, MAX_PROGRAM_BYTES)
        if unzip.unconsumed_tail:
            raise DamagedFile(path, f"unpacks to more than {MAX_PROGRAM_BYTES:,} bytes; no program does")
        if not unzip.eof:
            raise DamagedFile(path, "is cut")
        # Before there are any: commas and opening brackets, at least as many as there are values, less one.
        if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
            raise DamagedFile(path, f"has more than {MAX_VALUES:,} values; no program has that")
        document = json.loads(text, parse_constant=_refuse_constant)
    except (zlib.error, ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is no gzipped JSON ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise DamagedFile(path, f"holds a JSON {type(document).__name__}; an object was expected")
    return document


def _refuse_constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")
