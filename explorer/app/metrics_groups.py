"""Which metrics the page shows: found by a regular expression, grouped by prefix, opened and turned page by page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

PER_PAGE: Final = 12
_OPEN_AT_FIRST: Final = 12  # charts on the page that opens without a click
NO_PREFIX: Final = ""


class Section(NamedTuple):
    """Metrics that share what stands before their first `/`; `opened` tells whether it opens without a click."""

    prefix: str
    metrics: tuple[str, ...]
    opened: bool


class BadPattern(ValueError):
    """The search is not a regular expression; the message says why and where."""


def names(infos: Iterable[RunInfo]) -> list[str]:
    """Return the names of all metrics of the runs, sorted."""
    return sorted({name for info in infos for name in info.metrics})


def matching(metrics: Iterable[str], pattern: str) -> list[str]:
    """Return the metrics in which `pattern` is found somewhere, whatever the case of letters.

    Raises:
        BadPattern: `pattern` is not a regular expression.

    >>> matching(["train/loss", "val/loss", "lr"], "^val|LR")
    ['val/loss', 'lr']
    """
    try:
        found = re.compile(pattern, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadPattern(str(error)) from error
    return [name for name in metrics if found.search(name)]


def sections(metrics: Iterable[str], searching: bool = False) -> list[Section]:
    """Return the metrics by prefix, in order of name; the first ones are open until twelve charts are.

    While `searching`, all are open.
    """
    by_prefix: dict[str, list[str]] = {}
    for name in metrics:
        prefix, slash, rest = name.partition("/")
        by_prefix.setdefault(prefix if slash and prefix and rest else NO_PREFIX, []).append(name)
    out: list[Section] = []
    room = _OPEN_AT_FIRST
    # Metrics without a prefix come last: they are mostly counters.
    for prefix in sorted(by_prefix, key=lambda text: (text == NO_PREFIX, text)):
        found = tuple(by_prefix[prefix])
        out.append(Section(prefix, found, searching or room > 0))
        room -= len(found)
    return out
