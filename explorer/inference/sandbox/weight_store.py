"""Weights that were read lately, so that switching back costs nothing; the oldest go when they weigh too much."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from explorer.inference.edits.weight_edits import Weights


class WeightStore:
    """Weights by key, at most `max_bytes` of them; the least recently used go first, the last one always stays."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[Hashable, Weights] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], Weights]) -> Weights:
        """Those that are held, or what `read` gives. Raises what `read` raises."""
        if key not in self._held:
            self._held[key] = read()
        self._held.move_to_end(key)
        while len(self._held) > 1 and self.num_bytes > self._max_bytes:
            self._held.popitem(last=False)
        return self._held[key]

    def clear(self) -> None:
        """Let everything go."""
        self._held.clear()

    @property
    def num_bytes(self) -> int:
        """Bytes of all that is held; tied tensors count once."""
        return sum(
            sum({tensor.data_ptr(): tensor.nbytes for tensor in weights.values()}.values())
            for weights in self._held.values()
        )

    @property
    def num_free_bytes(self) -> int:
        """How much more fits without letting anything go."""
        return max(0, self._max_bytes - self.num_bytes)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)
