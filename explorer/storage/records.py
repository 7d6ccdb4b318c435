"""The JSON files of a run: whole or absent, small, and never trusted.

JSON here is strict: no NaN tokens. A non-finite number is the string "NaN", "Infinity" or "-Infinity".
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from explorer.errors import DamagedFile, UnsupportedFormat
from explorer.storage.disk import Disk
from explorer.storage.layout import FORMAT_VERSION
from explorer.storage.opening import open_regular

MAX_RECORD_BYTES = 32 * 2**20
Record = dict[str, Any]
# A text that may hold half a character: its escape (whole characters come in two of these), or bytes that are no UTF-8.
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_number(value: float | int | None) -> float | int | str | None:
    """A number as strict JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def decode_number(value: object) -> float | int | None:
    """The inverse of `encode_number`; None for anything that is no number."""
    if isinstance(value, str):
        return _SPECIAL.get(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def encode(value: object, *, indent: int | None = None) -> bytes:
    """Strict JSON in UTF-8. Raises TypeError or ValueError for what JSON cannot hold."""
    separators = None if indent else (",", ":")
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent, separators=separators)
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path, value: object, *, disk: Disk, sync: bool = False, indent: int | None = None) -> None:
    """Replace a JSON file as a whole. Raises OSError."""
    disk.write_file(path, encode(value, indent=indent), sync=sync)


def read_json(path: str | Path, *, max_bytes: int = MAX_RECORD_BYTES) -> Record:
    """Read a JSON object.

    Half a character (a lone surrogate, which no recorder writes and no table of names can hold) becomes U+FFFD.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it is a link or no regular file, too large, no UTF-8, no JSON, or no object.
    """
    fd, found = open_regular(path)
    with open(fd, "rb") as file:
        if found.st_size > max_bytes:
            raise DamagedFile(path, f"has {found.st_size:,} bytes; at most {max_bytes:,} are read")
        try:
            data = file.read(max_bytes + 1)
            value = json.loads(data, parse_constant=_refuse_constant)
            if _HALF_CHARACTER.search(data):
                value = json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", json.dumps(value, ensure_ascii=False)))
        except OSError as error:
            raise DamagedFile(path, f"cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise DamagedFile(path, f"is not valid JSON ({_short(error)})") from error
    if not isinstance(value, dict):
        raise DamagedFile(path, f"holds a JSON {type(value).__name__}; an object was expected")
    return value


def read_record(path: str | Path) -> Record:
    """Read a JSON object that carries our format version. Raises as `read_json`, and UnsupportedFormat."""
    record = read_json(path)
    check_format(path, record.get("format"))
    return record


def check_format(path: str | Path, version: object) -> None:
    """Refuse what a newer version wrote. Raises UnsupportedFormat or DamagedFile."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DamagedFile(path, f"names no format version (found {_short(version)})")
    if version > FORMAT_VERSION:
        raise UnsupportedFormat(
            path, f"has format {version}; this version reads up to {FORMAT_VERSION}. Upgrade experiment-explorer"
        )


def _refuse_constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def _short(value: object) -> str:
    text = str(value).encode("unicode_escape").decode("ascii")
    return text if len(text) <= 120 else text[:117] + "..."
