"""Durations, moments, sizes and numbers as people read them; plain text, no Markdown."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from explorer.app.names import plain

NONE = "–"


def duration_text(seconds: float | None) -> str:
    """A duration in its two largest units.

    >>> duration_text(0.25), duration_text(75.2), duration_text(3720), duration_text(200_000), duration_text(None)
    ('0.25 s', '1 min 15 s', '1 h 2 min', '2 d 7 h', '–')
    """
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NONE
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600} h"


def moment_text(moment: datetime | None) -> str:
    """A moment to the second, in UTC.

    >>> moment_text(datetime(2026, 11, 21, 10, 5, 3, tzinfo=timezone.utc))
    '2026-11-21 10:05:03 UTC'
    """
    return NONE if moment is None else moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago_text(moment: datetime, now: datetime | None = None) -> str:
    """How long ago a moment was, in its largest unit; the clock of another machine may be ahead of ours.

    >>> ago_text(datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, 5, tzinfo=timezone.utc))
    '5 h ago'
    """
    seconds = ((now or datetime.now(timezone.utc)) - moment).total_seconds()
    if seconds < 10:
        return "just now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit} ago"
    return f"{int(seconds)} s ago"


def bytes_text(num_bytes: float | None) -> str:
    """A size in bytes with binary units, to three digits.

    >>> bytes_text(0), bytes_text(1536), bytes_text(10 * 2**30)
    ('0 B', '1.5 KiB', '10 GiB')
    """
    if num_bytes is None or not math.isfinite(num_bytes):
        return NONE
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(max(int(math.log2(max(abs(num_bytes), 1)) // 10), 0), len(units) - 1)
    size = num_bytes / 1024**power
    return f"{size:,.0f} {units[power]}" if size >= 100 else f"{size:.3g} {units[power]}"


def number_text(value: float | None) -> str:
    """A count or a step: whole numbers up to 2**53 in full, others to five significant digits.

    >>> number_text(1234567), number_text(2.5), number_text(None)
    ('1,234,567', '2.5', '–')
    """
    if value is None:
        return NONE
    return f"{int(value):,}" if _is_whole(value, 2**53) else value_text(value)


def value_text(value: float | None, *, digits: int = 5, sign: bool = False) -> str:
    """A measured value to `digits` significant digits; whole numbers below ten million in full.

    >>> value_text(0.123456789), value_text(12345.0), value_text(2.5e35), value_text(float("inf"), sign=True)
    ('0.12346', '12,345', '2.5e+35', '+∞')
    """
    if value is None:
        return NONE
    if math.isnan(value):
        return "NaN"
    plus = "+" if sign and value > 0 else ""
    if math.isinf(value):
        return f"{plus}∞" if value > 0 else "-∞"
    return plus + (f"{int(value):,}" if _is_whole(value, 1e7) else f"{value:.{digits}g}")


def _is_whole(value: float, below: float) -> bool:
    return abs(value) < below and value == int(value)


def percent_text(value: float | None) -> str:
    """A signed percentage to three digits; nothing for a missing one.

    >>> percent_text(-3.14159), percent_text(0.0), percent_text(123456.0), percent_text(float("nan"))
    ('-3.14 %', '0 %', '+123,456 %', '')
    """
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value) or abs(value) >= 1e7:
        return f"{value:+.2e} %"
    return f"{value:+,.0f} %" if abs(value) >= 1000 else f"{value:+.3g} %" if value else "0 %"


def block_text(text: str, max_chars: int) -> str:
    r"""Text of several lines as it may be shown: lines and tabs stay, other control characters and half ones do not.

    >>> block_text("a\tb\n\x1b[31mc", 100)
    'a\tb\n\ufffd[31mc'
    """
    lines = text[:max_chars].split("\n")
    return "\n".join("\t".join(plain(part, max_chars) for part in line.rstrip("\r").split("\t")) for line in lines)
