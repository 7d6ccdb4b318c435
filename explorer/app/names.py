"""Text from files, made safe to show: every name that reaches Markdown passes through here."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

# Characters that reorder the text around them; a name could pretend to be another one.
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
# Where Streamlit's Markdown makes links, icons and typographic signs that a backslash does not stop.
_JOINS = re.compile(r"(?i)(:)(?=//|streamlit:)|(www)(?=\.)|(?<=\S)(@)|([-<=>])(?=[-<=>])|(\()(?=(?:c|r|tm)\))")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def plain(text: object, max_chars: int = 200) -> str:
    """Return `text` on one line, without control and reordering characters, at most `max_chars` long.

    For places that show text as it is: table cells, chart labels, the options of select boxes and multiselects.
    """
    raw = str(text)
    cut = raw if len(raw) <= max_chars else raw[: max_chars - 1] + "…"
    if cut.isprintable():  # which the characters of _BIDI are not
        return cut
    return "".join(c if c.isprintable() and c not in _BIDI else " " if c in "\t\n\r" else "\ufffd" for c in cut)


@functools.lru_cache(maxsize=8192)
def _escaped(text: str, max_chars: int) -> str:
    joined = _JOINS.sub(lambda match: match.group(0) + "\u2060", plain(text, max_chars))
    return _PUNCTUATION.sub(r"\\\1", joined)


def esc(text: object, max_chars: int = 200) -> str:
    r"""Return `text` so that Markdown shows it letter by letter: no link, image, icon, colour or formula.

    Widget labels, captions, messages, titles, the options of radios, pills and segmented controls, and `st.markdown`
    all read Markdown.

    >>> esc("a_b*c")
    'a\\_b\\*c'
    """
    return _escaped(str(text), max_chars)


def metric_names(infos: Iterable[RunInfo]) -> list[str]:
    """Return the names of all metrics of the runs, sorted; not made safe."""
    return sorted({name for info in infos for name in info.metrics})


def run_labels(infos: Iterable[RunInfo]) -> dict[str, str]:
    """Return a short label, unique among `infos`, for each run id: the name, with the end of the id if shared.

    The labels are plain text; pass them through `esc` in Markdown contexts.
    """
    runs = list(infos)
    names = Counter(info.name or info.run_id for info in runs)
    labels: dict[str, str] = {}
    for info in runs:
        name = info.name or info.run_id
        labels[info.run_id] = plain(name, 60) if names[name] == 1 else f"{plain(name, 48)} · {info.run_id[-4:]}"
    counts = Counter(labels.values())
    return {run_id: label if counts[label] == 1 else plain(run_id, 80) for run_id, label in labels.items()}


def matching(names: Iterable[str], text: str) -> list[str]:
    """The names that hold every word of a search text, upper and lower case alike; all names without a text.

    >>> matching(["train/loss", "val/loss", "lr"], "Loss tr"), matching(["lr"], "")
    (['train/loss'], ['lr'])
    """
    words = text.casefold().split()
    return [name for name in names if all(word in name.casefold() for word in words)]


def unique_labels(names: Iterable[str]) -> list[str]:
    """The names as plain text; those that look alike then are told apart by a number."""
    seen: dict[str, int] = {}
    labels = []
    for name in names:
        label = plain(name)
        seen[label] = seen.get(label, 0) + 1
        labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return labels


def count_text(num: int, noun: str) -> str:
    """Return a count with its noun.

    >>> count_text(1, "layer"), count_text(2_000, "layer")
    ('1 layer', '2,000 layers')
    """
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def name_list(names: Sequence[str], most: int = 4) -> str:
    """Return names as Markdown in a row, with how many more there are."""
    told = ", ".join(esc(name, 60) for name in names[:most])
    return told + (f" and {len(names) - most:,} more" if len(names) > most else "")
