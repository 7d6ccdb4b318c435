"""What was measured, next to what was aimed at: rows of a table, on the screen and in README.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FLOOR, TENSORBOARD, TRACKIO, CSV = "Floor", "TensorBoard", "Trackio", "CSVLogger"
OTHERS = (FLOOR, TENSORBOARD, TRACKIO, CSV)
SCIPY = "SciPy loop"
COLUMN = {"floor": FLOOR, "tensorboard": TENSORBOARD, "trackio": TRACKIO, "csvlogger": CSV}

Values = Sequence[float] | str


@dataclass(frozen=True)
class Target:
    """What our figure should be: at most `limit`, at most `limit` times another's, or (`below`) so many times less."""

    limit: float
    of: str | None = None
    below: bool = False

    def __str__(self) -> str:
        if self.of is None:
            return f"≤ {self.limit:g}"
        return f"≥ {self.limit:g}x below {self.of}" if self.below else f"≤ {self.limit:g}x {self.of.lower()}"


@dataclass
class Row:
    """One measured figure; lower is better.

    Attributes:
        what: in words, with the unit.
        ours: one value a repeat.
        others: column of the table to values of the same repeats, or to a text such as "not installed".
        targets: what `ours` should reach.
        note: said under the table.
        interval: the values are a median and the two ends of its interval, not repeats.
    """

    what: str
    ours: Sequence[float]
    others: dict[str, Values] = field(default_factory=dict)
    targets: Sequence[Target] = ()
    note: str = ""
    interval: bool = False

    def ratios(self, other: str) -> list[float]:
        """How many times ours the other's figure is, repeat by repeat."""
        theirs = self.others.get(other, ())
        if isinstance(theirs, str) or not theirs:
            return []
        pairs = list(zip(self.ours, theirs, strict=False))
        if self.interval:
            pairs = [(statistics.median(self.ours), statistics.median(theirs))]
        return [their / our for our, their in pairs if our > 0 and their > 0]

    def met(self, target: Target) -> bool | None:
        """Whether the median reaches it; None when there is nothing to compare."""
        if target.of is None:
            return statistics.median(self.ours) <= target.limit if self.ours else None
        ratios = self.ratios(target.of)
        if not ratios:
            return None
        ratio = statistics.median(ratios)
        return ratio >= target.limit if target.below else 1 / ratio <= target.limit


def figure(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: Values) -> str:
    """The median, and the range in brackets when there is more than one value."""
    if isinstance(values, str):
        return values
    if not values:
        return "-"
    middle = figure(statistics.median(values))
    if len(values) == 1 or min(values) == max(values):
        return middle
    return f"{middle} ({figure(min(values))}-{figure(max(values))})"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table, then its notes. Columns are the usual ones, or the rows' own where those are others."""
    brought = tuple(dict.fromkeys(other for row in rows for other in row.others))
    others = brought if set(brought) - set(OTHERS) else OTHERS
    lines = ["| | Explorer | Target | " + " | ".join(others) + " |", "| --- " * (len(others) + 3) + "|"]
    notes: list[str] = []
    for row in rows:
        mark = ""
        if row.note:
            if row.note not in notes:
                notes.append(row.note)
            mark = f" [{notes.index(row.note) + 1}]"
        cells = [row.what + mark, f"**{spread(row.ours)}**", _verdicts(row), *(_cell(row, other) for other in others)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [""] + [f"[{number}] {note}  " for number, note in enumerate(notes, 1)] if notes else []
    return "\n".join(lines).rstrip()


def _verdicts(row: Row) -> str:
    words = {True: "met", False: "**missed**", None: "not compared"}
    return "; ".join(f"{target} {words[row.met(target)]}" for target in row.targets) or "-"


def _cell(row: Row, other: str) -> str:
    values = row.others.get(other, "-")
    ratios = row.ratios(other)
    if not ratios:
        return spread(values)
    ratio = statistics.median(ratios)
    return f"{spread(values)}; {figure(ratio)}x ours"


def write_into(readme: Path, section: str, text: str) -> None:
    """Replace what stands between the two marks of a section; the other sections keep their last table."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before = readme.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(before):
        raise ValueError(f"{readme} has no place for the table: {begin} ... {end}")
    readme.write_text(pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", before), encoding="utf-8")
