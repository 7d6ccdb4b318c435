"""The geometry of a graph of boxes: rectangles, lines with arrows, and frames around boxes that belong together.

Lengths are pixels at the size in which it is drawn first; y grows downwards and is 0 at the top.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from explorer.charts.graph_layout import Layout, Line, place

Point = tuple[float, float]

MAX_LINE_POINTS: Final = 2_600
_NAME_PX: Final = 6.9  # of a letter of a name, on the average, which is 12 px and bold
_NOTE_PX: Final = 5.8  # of a note, 11 px
_MIN_WIDTH: Final = 84.0
_MAX_WIDTH: Final = 216.0
_BESIDE_TEXT: Final = 22.0
_FRAME_TOP: Final = 24.0
_FRAME_BOTTOM: Final = 11.0
_FRAME_SIDE: Final = 13.0
_PORT_PX: Final = 13.0
_MARGIN: Final = 8.0
_CURVE_POINTS: Final = 7


@dataclass(frozen=True)
class Item:
    """A box: what it reports when it is clicked, its name, and a note below that."""

    key: str
    name: str
    note: str


@dataclass(frozen=True)
class Frame:
    """A frame: what it reports, its title, and which boxes are in it; frames that hold others come first."""

    key: str
    title: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class Rect:
    """A rectangle by its left, upper, right and lower side."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Rect) -> bool:
        """Whether they share a point."""
        beside = self.right < other.left or other.right < self.left
        return not (beside or self.bottom < other.top or other.bottom < self.top)

    def holds(self, other: Rect) -> bool:
        """Whether the other one lies in it."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True)
class Arrow:
    """A line from box to box, and its head: where the tip is, and whether it points up."""

    points: tuple[Point, ...]
    tip: Point
    is_upward: bool


@dataclass(frozen=True)
class GraphPicture:
    """Where everything is.

    Attributes:
        items, boxes: what is drawn, and where.
        arrows: one for each edge.
        frames: those that hold no box of others; a frame that would is left out.
    """

    items: tuple[Item, ...]
    boxes: tuple[Rect, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[tuple[Frame, Rect], ...]

    @cached_property
    def bounds(self) -> Rect:
        """What holds everything, with a margin."""
        rects = [*self.boxes, *(rect for _, rect in self.frames)]
        x = [point[0] for arrow in self.arrows for point in arrow.points]
        left = min([rect.left for rect in rects] + x, default=0.0)
        right = max([rect.right for rect in rects] + x, default=1.0)
        bottom = max((rect.bottom for rect in rects), default=1.0)
        return Rect(left - _MARGIN, 0.0, right + _MARGIN, bottom + _MARGIN)


def box_width(name: str, note: str) -> float:
    """Pixels that a box takes for its texts; longer ones are cut by `fitting`."""
    text = max(len(name) * _NAME_PX, len(note) * _NOTE_PX)
    return min(max(text + _BESIDE_TEXT, _MIN_WIDTH), _MAX_WIDTH)


def fitting(text: str, is_name: bool) -> str:
    """The text, its middle left out where a box has no room for it.

    >>> fitting("scaled_dot_product_attention_of_all", is_name=True)
    'scaled_dot_pro…ention_of_all'
    """
    most = int((_MAX_WIDTH - _BESIDE_TEXT) / (_NAME_PX if is_name else _NOTE_PX))
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"


def draw(items: Sequence[Item], edges: Sequence[tuple[int, int]], frames: Sequence[Frame] = ()) -> GraphPicture:
    """Lay out a graph whose items stand in an order in which they can be computed.

    Args:
        items: the boxes.
        edges: (source, target) by number of the item.
        frames: around boxes.
    """
    widths = [box_width(item.name, item.note) for item in items]
    layout = place(widths, edges)
    num_rows = max(layout.layer, default=-1) + 1
    height, gap = (40.0, 30.0) if num_rows <= 12 else (36.0, 24.0)
    around = _framed(frames, layout, edges, widths, height, gap)
    if len(around) < len(frames):  # no room is kept for those that are left out
        around = _framed([frame for frame, _ in around], layout, edges, widths, height, gap)
    nests = _nests([frame for frame, _ in around], layout)
    tops = _row_tops(num_rows, height, gap, nests)
    boxes = _boxes(layout, widths, tops, height)
    return GraphPicture(tuple(items), boxes, _arrows(layout, edges, boxes, tops, height), tuple(around))


def _boxes(layout: Layout, widths: Sequence[float], tops: Sequence[float], height: float) -> tuple[Rect, ...]:
    return tuple(
        Rect(x - width / 2, tops[row], x + width / 2, tops[row] + height)
        for x, row, width in zip(layout.x, layout.layer, widths, strict=True)
    )


def _framed(
    frames: Sequence[Frame],
    layout: Layout,
    edges: Sequence[tuple[int, int]],
    widths: Sequence[float],
    height: float,
    gap: float,
) -> list[tuple[Frame, Rect]]:
    """The frames that hold no box of others and cross no other frame, with their places."""
    nests = _nests(frames, layout)
    boxes = _boxes(layout, widths, _row_tops(max(layout.layer, default=-1) + 1, height, gap, nests), height)
    rects: dict[int, Rect] = {}
    for number in reversed(range(len(frames))):
        inner = [rects[other] for other in rects if {*frames[number].members} >= {*frames[other].members}]
        rects[number] = _holding(_around(frames[number], nests[number], boxes, edges, layout), inner)
    found: list[tuple[Frame, Rect]] = []
    for number, frame in enumerate(frames):
        rect = rects[number]
        others = [boxes[box] for box in range(len(boxes)) if box not in frame.members]
        crossed = any(rect.meets(done) and not done.holds(rect) for _, done in found)
        if frame.members and not crossed and not any(rect.meets(other) for other in others):
            found.append((frame, rect))
    return found


@dataclass(frozen=True)
class _Nest:
    """First and last layer of a frame, and how many frames begin, end or lie in it, itself counted."""

    first: int
    last: int
    begin: int
    end: int
    deep: int


def _nests(frames: Sequence[Frame], layout: Layout) -> list[_Nest]:
    found: dict[int, _Nest] = {}
    for number in reversed(range(len(frames))):
        members = set(frames[number].members)
        rows = [layout.layer[box] for box in members] or [0]
        inner = [nest for other, nest in found.items() if members >= set(frames[other].members)]
        begin = max((nest.begin for nest in inner if nest.first == min(rows)), default=0)
        end = max((nest.end for nest in inner if nest.last == max(rows)), default=0)
        deep = max((nest.deep for nest in inner), default=0)
        found[number] = _Nest(min(rows), max(rows), begin + 1, end + 1, deep + 1)
    return [found[number] for number in range(len(frames))]


def _row_tops(num_rows: int, height: float, gap: float, nests: Sequence[_Nest]) -> list[float]:
    tops, y = [], _MARGIN
    for row in range(num_rows):
        y += _FRAME_TOP * max((nest.begin for nest in nests if nest.first == row), default=0)
        tops.append(y)
        y += height + gap + _FRAME_BOTTOM * max((nest.end for nest in nests if nest.last == row), default=0)
    return tops


def _around(frame: Frame, nest: _Nest, boxes: Sequence[Rect], edges: Sequence[tuple[int, int]], layout: Layout) -> Rect:
    members = set(frame.members)
    inside = [boxes[box] for box in members] or [Rect(0, 0, 0, 0)]
    lines = [
        x
        for (source, target), line in zip(edges, layout.lines, strict=True)
        if max(source, target) in members
        for row, x in enumerate(line.between, line.first + 1)
        if row >= nest.first
    ]
    left = min([rect.left for rect in inside] + lines) - _FRAME_SIDE * nest.deep
    right = max([rect.right for rect in inside] + lines) + _FRAME_SIDE * nest.deep
    # The title stands beside the line that comes in at the top.
    short = max(0.0, 2 * (len(frame.title) * _NAME_PX + 14) - (right - left)) / 2
    return Rect(
        left - short,
        min(rect.top for rect in inside) - _FRAME_TOP * nest.begin,
        right + short,
        max(rect.bottom for rect in inside) + _FRAME_BOTTOM * nest.end,
    )


def _holding(rect: Rect, inner: Sequence[Rect]) -> Rect:
    """The rectangle, wide enough for frames in it that have long titles."""
    left = min([rect.left, *(one.left - _FRAME_SIDE for one in inner)])
    right = max([rect.right, *(one.right + _FRAME_SIDE for one in inner)])
    return Rect(left, rect.top, right, rect.bottom)


def _arrows(
    layout: Layout, edges: Sequence[tuple[int, int]], boxes: Sequence[Rect], tops: Sequence[float], height: float
) -> tuple[Arrow, ...]:
    ports = _ports(layout, edges, boxes)
    num_points = max(2, min(_CURVE_POINTS, MAX_LINE_POINTS // (len(edges) or 1) - 1))
    found: list[tuple[list[Point], bool]] = []
    for (source, target), line, port in zip(edges, layout.lines, ports, strict=True):
        upper, lower = min(source, target), max(source, target)
        stops: list[Point] = [(layout.x[upper], boxes[upper].bottom)]
        for row, x in enumerate(line.between, line.first + 1):
            stops += [(x, tops[row]), (x, tops[row] + height)]
        stops.append((layout.x[lower] + port, boxes[lower].top))
        points = [stops[0]]
        for one, other in itertools.pairwise(stops):
            points += _curve(one, other, num_points)
        found.append((_without_middles(points), source > target))
    num_all = sum(len(points) for points, _ in found)
    # In a dense graph the longest lines go straight to their ends, so that a chart stays small.
    for points, _ in sorted(found, key=lambda line: -len(line[0])):
        if num_all <= MAX_LINE_POINTS:
            break
        direct = [points[0], *_curve(points[0], points[-1], num_points)]
        num_all += len(direct) - len(points)
        points[:] = direct
    return tuple(Arrow(tuple(points), points[0] if up else points[-1], up) for points, up in found)


def _without_middles(points: Sequence[Point]) -> list[Point]:
    """The points of a line without those between two that stand upright above each other."""
    kept = [points[0]]
    for k in range(1, len(points)):
        following = points[k + 1] if k + 1 < len(points) else None
        if following is None or not points[k - 1][0] == points[k][0] == following[0]:
            kept.append(points[k])
    return kept


def _curve(one: Point, other: Point, num: int) -> list[Point]:
    """Points of a cubic Bézier curve that leaves and arrives upright, without the first; a straight one is its end."""
    (x0, y0), (x1, y1) = one, other
    if abs(x1 - x0) < 0.5:
        return [other]
    found: list[Point] = []
    for k in range(1, num + 1):
        t = k / num
        across = t * t * (3 - 2 * t)  # both inner control points are halfway down
        down = 1.5 * t * (1 - t) + t**3
        found.append((x0 + (x1 - x0) * across, y0 + (y1 - y0) * down))
    found[-1] = other
    return found


def _ports(layout: Layout, edges: Sequence[tuple[int, int]], boxes: Sequence[Rect]) -> list[float]:
    """Where each line arrives at the upper side of its lower box, from the middle: a straight one there."""
    arriving: dict[int, list[tuple[float, int]]] = {}
    for number, ((source, target), line) in enumerate(zip(edges, layout.lines, strict=True)):
        arriving.setdefault(max(source, target), []).append((_last_x(layout, line, min(source, target)), number))
    ports = [0.0] * len(edges)
    for box, lines in arriving.items():
        if len(lines) == 1:
            continue
        middle = layout.x[box]
        room = (boxes[box].right - boxes[box].left) / 2 - 12
        for side in (-1, 1):
            beside = sorted((abs(x - middle), number) for x, number in lines if (x - middle) * side > 0.5)
            step = min(_PORT_PX, room / max(1, len(beside)))
            for k, (_, number) in enumerate(beside, 1):
                ports[number] = side * step * k
    return ports


def _last_x(layout: Layout, line: Line, upper: int) -> float:
    return line.between[-1] if line.between else layout.x[upper]
