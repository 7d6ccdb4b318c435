"""Where the boxes of a directed graph stand, and how the lines between them run: layers from top to bottom.

The steps of Sugiyama's method (Sugiyama, Tagawa, Toda 1981): each box gets a layer below everything that it reads;
a line over several layers gets a place in each of them; the order within a layer is that of the mean place of the
neighbours, swept down and up until the lines cross no less; then boxes move as close to their neighbours as their order
and their widths allow, which is an isotonic regression for each layer.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LINE_PX: Final = 18.0  # room for a line that passes between boxes
_GAP_PX: Final = 26.0  # between neighbours of a layer
_LAYER_PX: Final = 560.0  # boxes of one layer; lines beside them come to that
_SWEEPS: Final = 12


@dataclass(frozen=True)
class Line:
    """How an edge runs: its layers from the upper end to the lower one, and its place in each of those between."""

    first: int
    last: int
    between: tuple[float, ...]


@dataclass(frozen=True)
class Layout:
    """Places of the boxes of a graph.

    Attributes:
        layer: of each box, 0 at the top.
        x: middle of each box.
        lines: one for each edge, from its upper to its lower end; the upper end is the source as a rule, and the target
            where the graph has a loop.
    """

    layer: tuple[int, ...]
    x: tuple[float, ...]
    lines: tuple[Line, ...]


def place(widths: Sequence[float], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes.

    Args:
        widths: of the boxes, in an order in which they can be computed; an edge against it is drawn upwards.
        edges: (source, target) by number of the box; none from a box to itself.
    """
    down = [(min(edge), max(edge)) for edge in edges]
    layer = _layers(widths, down)
    slots = _Slots(widths, layer)
    chains = [slots.chain(source, target) for source, target in down]
    slots.order()
    x = slots.spread()
    for chain in chains:
        slots.straighten(chain[1:-1], x)
    lines = tuple(
        Line(layer[source], layer[target], tuple(x[slot] for slot in chain[1:-1]))
        for (source, target), chain in zip(down, chains, strict=True)
    )
    return Layout(tuple(layer), tuple(x[: len(widths)]), lines)


def _layers(widths: Sequence[float], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Each box right below the lowest that it reads; what reads nothing right above the first that reads it.

    A layer that is full leaves a box to the next one, so that a graph of many branches does not become too wide.
    """
    num = len(widths)
    before: list[list[int]] = [[] for _ in range(num)]
    after: list[list[int]] = [[] for _ in range(num)]
    for source, target in edges:
        before[target].append(source)
        after[source].append(target)
    layer = [0] * num
    taken: dict[int, float] = {}

    def settle(box: int, row: int) -> None:
        layer[box] = row
        taken[row] = taken.get(row, 0.0) + widths[box] + _GAP_PX

    for box in range(num):
        row = max((layer[source] + 1 for source in before[box]), default=0)
        while taken.get(row, 0.0) and taken[row] + widths[box] > _LAYER_PX:
            row += 1
        settle(box, row)
    for box in reversed(range(num)):
        row = min((layer[target] for target in after[box]), default=0) - 1
        if not before[box] and row > layer[box] and taken.get(row, 0.0) + widths[box] <= _LAYER_PX:
            taken[layer[box]] -= widths[box] + _GAP_PX
            settle(box, row)
    row_of = {found: row for row, found in enumerate(sorted(set(layer)))}
    return [row_of[found] for found in layer]


class _Slots:
    """What has a place in a layer: boxes by their number, then a slot for each layer that a line passes."""

    def __init__(self, widths: Sequence[float], layer: Sequence[int]) -> None:
        self._width = [width + _GAP_PX for width in widths]
        self._num_boxes = len(widths)
        self._rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
        self._up: list[list[int]] = [[] for _ in widths]
        self._down: list[list[int]] = [[] for _ in widths]
        self._layer = list(layer)
        self._half = 0.0  # of the widest row
        for box, row in enumerate(layer):
            self._rows[row].append(box)

    def chain(self, source: int, target: int) -> list[int]:
        """Enter an edge, and return its slots from the source to the target."""
        chain = [source]
        for row in range(self._layer[source] + 1, self._layer[target]):
            slot = len(self._width)
            self._width.append(_LINE_PX)
            self._layer.append(row)
            self._up.append([])
            self._down.append([])
            self._rows[row].append(slot)
            chain.append(slot)
        chain.append(target)
        for upper, lower in itertools.pairwise(chain):
            self._down[upper].append(lower)
            self._up[lower].append(upper)
        return chain

    def order(self) -> None:
        """Order each layer so that few lines cross."""
        best, fewest = [list(row) for row in self._rows], self._num_crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            rows = range(1, len(self._rows)) if sweep % 2 == 0 else range(len(self._rows) - 2, -1, -1)
            for row in rows:
                self._sort(row, self._up if sweep % 2 == 0 else self._down)
            found = self._num_crossings()
            if found < fewest:
                best, fewest = [list(row) for row in self._rows], found
        self._rows = best

    def _sort(self, row: int, neighbours: Sequence[Sequence[int]]) -> None:
        """By the mean place of the neighbours in the layer that was ordered before; without any it keeps its place."""
        other = row - 1 if neighbours is self._up else row + 1
        place = {slot: k / max(1, len(self._rows[other]) - 1) for k, slot in enumerate(self._rows[other])}
        count = max(1, len(self._rows[row]) - 1)
        means = {
            slot: sum(place[near] for near in neighbours[slot]) / len(neighbours[slot])
            if neighbours[slot]
            else k / count
            for k, slot in enumerate(self._rows[row])
        }
        self._rows[row].sort(key=means.__getitem__)

    def _num_crossings(self) -> int:
        """Pairs of lines between neighbouring layers whose ends are in opposite order."""
        total = 0
        for row, lower in zip(self._rows, self._rows[1:], strict=False):
            below = {slot: k for k, slot in enumerate(lower)}
            passed: list[int] = []
            for slot in row:
                ends = sorted(below[near] for near in self._down[slot])
                total += sum(len(passed) - bisect_left(passed, end + 1) for end in ends)
                for end in ends:
                    insort(passed, end)
        return total

    def spread(self) -> list[float]:
        """Middle of each slot: near its neighbours, with room for its width, in the order of its layer."""
        x = [0.0] * len(self._width)
        self._half = max((sum(self._width[slot] for slot in row) for row in self._rows), default=0.0) / 2
        for row in self._rows:
            left = -sum(self._width[slot] for slot in row) / 2
            for slot in row:
                x[slot] = left + self._width[slot] / 2
                left += self._width[slot]
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            for row in self._rows if down else reversed(self._rows):
                near = self._up if down else self._down
                wanted = [self._wanted(slot, near[slot], x) for slot in row]
                for slot, found in zip(row, self._apart(row, wanted), strict=True):
                    x[slot] = found
        return x

    def straighten(self, chain: Sequence[int], x: list[float]) -> None:
        """Move the places of a line to one of its ends or sides where nothing is in the way."""
        if len(chain) < 2:
            return
        ends = sorted((max(x[slot] for slot in chain), min(x[slot] for slot in chain)), key=abs, reverse=True)
        for end in ends:
            if all(self._has_room(slot, end, x) for slot in chain):
                for slot in chain:
                    x[slot] = end
                return

    def _has_room(self, slot: int, goal: float, x: Sequence[float]) -> bool:
        row = self._rows[self._layer[slot]]
        k = row.index(slot)
        beside = [*row[max(0, k - 1) : k], *row[k + 1 : k + 2]]
        return all(
            abs(x[other] - goal) >= (self._width[other] + self._width[slot]) / 2 - 0.01
            and (x[other] < goal) == (x[other] < x[slot])
            for other in beside
        )

    def _wanted(self, slot: int, near: Sequence[int], x: Sequence[float]) -> float:
        """A box goes below other boxes rather than below lines that pass, so that chains of boxes stay straight."""
        boxes = [other for other in near if other < self._num_boxes]
        if slot < self._num_boxes:
            near = boxes or near
        else:
            near = [other for other in near if other >= self._num_boxes] or near
        return sum(x[other] for other in near) / len(near) if near else x[slot]

    def _apart(self, row: Sequence[int], wanted: Sequence[float]) -> list[float]:
        """The places nearest to the wanted ones (least squares, boxes before lines) that leave room for all widths.

        No row goes beyond the ends that the widest one has around 0: rows that push lines aside would else lead the
        rows below them ever further to that side. Pool adjacent violators (Ayer et al. 1955) on the places less the
        room that is taken on their left.
        """
        offsets, taken = [], 0.0
        for k, slot in enumerate(row):
            if k:
                taken += (self._width[row[k - 1]] + self._width[slot]) / 2
            offsets.append(taken)
        pools: list[tuple[float, float, int]] = []  # (weighted mean, weight, how many)
        for slot, goal, offset in zip(row, wanted, offsets, strict=True):
            mean, weight, count = goal - offset, 1e4 if slot < self._num_boxes else 1.0, 1
            while pools and pools[-1][0] > mean:
                other, more, num = pools.pop()
                mean = (mean * weight + other * more) / (weight + more)
                weight, count = weight + more, count + num
            pools.append((mean, weight, count))
        half = self._half
        lowest, highest = self._width[row[0]] / 2 - half, half - self._width[row[-1]] / 2 - taken
        means = [min(max(mean, lowest), highest) for mean, _, count in pools for _ in range(count)]
        return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
