"""The few instructions that a training pays for a row of metrics that it has logged before.

Everything is a local or a cell of a closure, and one tuple for each set of names holds what belongs together, so that
another thread never sees half of a change. Between reading and writing `journal.next` there is no call, so the
interpreter switches no thread there and two threads never take the same place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from explorer.recording.journal_file import JournalFile
from explorer.storage.journal import Shape

Log = Callable[..., None]

# A row whose sum is a Python number within this range holds no tensor, no text, no NaN and no integer that a float64
# would round: one pass in C instead of a look at each value. (Integers beyond 2**53 that cancel out to less would get
# rounded; two such in one row are taken for an accident.)
_EXACT = 2.0**53
_MAX_ENTRIES = 256


def make_log(
    carefully: Callable[[Mapping[str, object], int | None], None],
) -> tuple[
    Log, Callable[[Shape, JournalFile], None], Callable[[Iterable[str]], None], Callable[[], None], Callable[[], None]
]:
    """The recorder's `log`, and how it is steered.

    Args:
        carefully: takes every row whose names are not in use.

    Returns:
        ``log(values, step)``; ``use(shape, journal)`` says where rows of these names go from now on; ``leave(names)``
        sends rows of these names the careful way again; ``interrupt()`` sends the next row there, and ``resume()``
        takes the last interruption back. After two interruptions there is nothing to take back.
    """
    nothing: tuple[Any, ...] = (None, -1, None, None, None, 0, 0, 0)
    current = nothing
    entries: dict[tuple[str, ...], tuple[Any, ...]] = {}
    used: JournalFile | None = None
    interrupted = (entries, used)
    now, low, high = time.monotonic_ns, -_EXACT, _EXACT

    def log(values: Mapping[str, object], step: int | None = None) -> None:
        nonlocal current
        try:
            get, count, pack_into, memory, journal, head, whole, size = current
            try:
                if len(values) != count or type(values) is not dict:  # a defaultdict would make up what it lacks
                    raise KeyError
                row = get(values)
            except KeyError:  # rows of several kinds taking turns
                current = get, count, pack_into, memory, journal, head, whole, size = entries[(*values,)]
                row = get(values)
            total = sum(row)
            if (type(total) is float or type(total) is int) and low < total < high:
                if step is None:
                    step = journal.step + 1
                if type(step) is int:
                    at = journal.next
                    end = at + size
                    if end <= journal.limit:
                        journal.next = end
                        pack_into(memory, at, head, step, now(), *row, whole)
                        journal.step = step
                        return
        except Exception:
            pass
        carefully(values, step)

    def use(shape: Shape, journal: JournalFile) -> None:
        nonlocal current, entries, used
        names = shape.names
        # One pass in C that finds the values, in the order of the shape, and that no other name stands there instead.
        get = itemgetter(*names) if len(names) > 1 else partial(_only, names[0])
        entry = (
            get, len(names), shape.pack_into, journal.memory, journal, shape.head, shape.whole, shape.row_bytes
        )  # fmt: skip
        if journal is not used or len(entries) >= _MAX_ENTRIES:  # all rows go on in one journal
            entries, used = {names: entry}, journal
        else:
            entries[names] = entry
        current = entry

    def leave(names: Iterable[str]) -> None:
        nonlocal current
        entries.pop((*names,), None)
        current = nothing

    def interrupt() -> None:
        nonlocal current, entries, interrupted
        interrupted = (entries, used)
        entries, current = {}, nothing

    def resume() -> None:
        nonlocal entries
        before, journal = interrupted
        if journal is used:
            entries = before

    return log, use, leave, interrupt, resume


def _only(name: str, values: Mapping[str, object]) -> tuple[object]:
    """What `itemgetter` gives for several names, for one."""
    return (values[name],)
