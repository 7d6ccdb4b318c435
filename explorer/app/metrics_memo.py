"""Results that several script runs and sessions need again, until what they were made from changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """The results used last, by key, up to a number of bytes; safe between threads, which may make one result twice.

    Args:
        max_bytes: of all results together; the newest one is kept whatever its size.
        num_bytes: tells the size of a result.
    """

    def __init__(self, max_bytes: int, num_bytes: Callable[[T], int]) -> None:
        self._max_bytes, self._num_bytes = max_bytes, num_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._total = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result at `key`, made now when it is not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[0]
        made = make()
        size = self._num_bytes(made)
        with self._lock:
            self._total += size - self._kept.pop(key, (made, 0))[1]
            self._kept[key] = (made, size)
            while self._total > self._max_bytes and len(self._kept) > 1:
                self._total -= self._kept.popitem(last=False)[1][1]
        return made

    def __len__(self) -> int:
        """How many results are kept."""
        return len(self._kept)
