"""Text that is safe to write into a CSV file."""

from __future__ import annotations

import re
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
