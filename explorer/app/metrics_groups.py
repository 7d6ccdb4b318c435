"""Which metrics the page shows: found by a regular expression, grouped by prefix, opened and turned page by page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as compute

from explorer.charts import arrow

PER_PAGE: Final = 12
# What most trainings are judged by comes first, then metrics without a prefix, then the rest by name.
_FIRST: Final = ("train", "training", "val", "valid", "validation", "eval", "test", "")
_OPEN_AT_FIRST: Final = 12  # charts on the page that opens without a click
NO_PREFIX: Final = ""


class Section(NamedTuple):
    """Metrics that share what stands before their first `/`; `opened` tells whether it opens without a click."""

    prefix: str
    metrics: tuple[str, ...]
    opened: bool


class BadPattern(ValueError):
    """The search is not a regular expression; the message says why and where."""


def matching(metrics: Iterable[str], pattern: str) -> list[str]:
    """Return the metrics in which `pattern` is found somewhere, whatever the case of letters.

    The expressions are those of RE2, which takes a time that grows with the length of the names alone: a link or a name
    from a stranger's log cannot hold the server.

    Raises:
        BadPattern: `pattern` is not a regular expression of RE2; it has no look-around and no back-references.

    >>> matching(["train/loss", "val/loss", "lr"], "^val|LR")
    ['val/loss', 'lr']
    """
    names = list(metrics)
    try:
        found = compute.match_substring_regex(arrow.texts(names), pattern, ignore_case=True)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise BadPattern(str(error)) from error
    return list(compress(names, found.to_pylist()))


def sections(metrics: Iterable[str], searching: bool = False) -> list[Section]:
    """Return the metrics by prefix; the first section is open, and others while twelve charts are enough for them.

    While `searching`, all are open.
    """
    by_prefix: dict[str, list[str]] = {}
    for name in metrics:
        prefix, slash, rest = name.partition("/")
        by_prefix.setdefault(prefix if slash and prefix and rest else NO_PREFIX, []).append(name)
    out: list[Section] = []
    room = _OPEN_AT_FIRST
    for prefix in sorted(by_prefix, key=_rank):
        found = tuple(sorted(by_prefix[prefix], key=natural))
        num_drawn = min(len(found), PER_PAGE)
        opened = not out or num_drawn <= room
        out.append(Section(prefix, found, searching or opened))
        room -= num_drawn if opened else 0
    return out


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names as people do: `layer.2` before `layer.10`.

    >>> sorted(["b10", "b9", "a"], key=natural)
    ['a', 'b9', 'b10']
    """
    # Digits of other scripts are letters here; very long numbers are text.
    parts = re.split(r"([0-9]{1,18})", name.lower())
    return [(int(part), "") if k % 2 else (-1, part) for k, part in enumerate(parts)]


def _rank(prefix: str) -> tuple[int, list[tuple[int, str]]]:
    low = prefix.lower()
    return _FIRST.index(low) if low in _FIRST else len(_FIRST), natural(prefix)
