"""CSV files, written so that no spreadsheet runs what a name says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r\n|%]")


def harmless(text: str) -> str:
    """Text that no spreadsheet runs (a quote goes before what looks like a formula) and that UTF-8 can hold.

    >>> harmless("=cmd|' /C calc'!A0"), harmless("adam")
    ("'=cmd|' /C calc'!A0", 'adam')
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return f"'{whole}" if _FORMULA.match(whole) else whole


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    r"""Return a table as CSV: UTF-8, a line feed after each row, numbers with every digit, None as an empty cell.

    Every text passes through `harmless`; numbers have to be numbers.

    >>> csv_bytes(["layer", "@norm"], [["=a", 0.1], ["b", None]])
    b"layer,'@norm\n'=a,0.1\nb,\n"
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([harmless(text) for text in header])
    writer.writerows([harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue().encode()
