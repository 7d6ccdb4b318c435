"""Boxes of a layer never overlap, lines never run through boxes, and what belongs in a straight line stays in one."""

import itertools

import numpy as np
import pytest

from explorer.charts.graph_layout import place
from explorer.charts.graph_picture import MAX_LINE_POINTS, Frame, Item, Rect, box_width, draw, fitting


def chain(num):
    return [(k, k + 1) for k in range(num - 1)]


def random_graph(seed):
    """A connected graph whose edges go on in the order of its boxes."""
    rng = np.random.default_rng(seed)
    num = int(rng.integers(2, 41))
    edges = {(int(rng.integers(0, box)), box) for box in range(1, num)}
    edges |= {tuple(sorted(rng.choice(num, 2, replace=False).tolist())) for _ in range(int(rng.integers(0, 30)))}
    return [float(width) for width in rng.uniform(80, 216, num)], sorted(edges)


def picture_of(widths, edges, frames=()):
    items = [Item(str(k), "n" * int(width / 8), "") for k, width in enumerate(widths)]
    return draw(items, edges, frames)


@pytest.mark.parametrize("seed", range(30))
def test_every_box_stands_below_what_it_reads_and_beside_its_neighbours(seed):
    widths, edges = random_graph(seed)
    layout = place(widths, edges)
    assert all(layout.layer[source] < layout.layer[target] for source, target in edges)
    assert sorted(set(layout.layer)) == list(range(max(layout.layer) + 1))
    for row in set(layout.layer):
        boxes = sorted((layout.x[box], widths[box]) for box in range(len(widths)) if layout.layer[box] == row)
        for (x, width), (other, more) in itertools.pairwise(boxes):
            assert other - x >= (width + more) / 2 + 20


@pytest.mark.parametrize("seed", range(30))
def test_no_line_runs_through_a_box_that_it_passes(seed):
    picture = picture_of(*random_graph(seed))
    for rect in picture.boxes:
        inside = Rect(rect.left + 1, rect.top + 1, rect.right - 1, rect.bottom - 1)
        for line in picture.arrows:
            assert not [point for point in line.points if inside.meets(Rect(*point, *point))]


def test_a_chain_is_straight_beside_the_lines_that_pass_it():
    layout = place([100.0] * 8, [*chain(8), (0, 4), (4, 7), (1, 3)])
    assert np.ptp(layout.x) < 1


def test_a_line_that_passes_several_layers_is_straight():
    layout = place([100.0, 100.0, 200.0, 100.0, 100.0], [*chain(5), (0, 4)])
    (line,) = [line for line in layout.lines if line.between]
    assert len(line.between) == 3
    assert np.ptp(line.between) < 1e-9
    assert abs(line.between[0] - layout.x[2]) >= 100


def test_what_reads_nothing_stands_right_above_its_reader():
    layout = place([100.0] * 6, [(0, 1), (1, 2), (2, 4), (3, 4), (4, 5)])
    assert layout.layer == (0, 1, 2, 2, 3, 4)


def test_lines_that_need_not_cross_do_not():
    edges = [(0, 2), (0, 3), (1, 4), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7)]
    layout = place([100.0] * 8, edges)
    for one, other in itertools.combinations(edges, 2):
        if layout.layer[one[0]] == layout.layer[other[0]] and one[0] != other[0] and one[1] != other[1]:
            assert (layout.x[one[0]] < layout.x[other[0]]) == (layout.x[one[1]] < layout.x[other[1]])


def test_many_branches_stand_in_several_rows_rather_than_become_too_wide():
    num = 30
    edges = [(0, box) for box in range(1, num + 1)] + [(box, num + 1) for box in range(1, num + 1)]
    picture = picture_of([100.0] * (num + 2), edges)
    assert picture.bounds.right - picture.bounds.left < 1_300
    tops = {rect.top for rect in picture.boxes[1 : num + 1]}
    assert len(tops) == 8
    few = picture_of([100.0] * 5, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)])
    assert len({rect.top for rect in few.boxes}) == 3


def test_a_loop_is_drawn_upwards():
    picture = picture_of([100.0] * 3, [(0, 1), (1, 2), (2, 0)])
    assert [line.is_upward for line in picture.arrows] == [False, False, True]
    assert picture.arrows[2].tip[1] == picture.boxes[0].bottom


def test_no_boxes_and_one_box_are_pictures_too():
    assert picture_of([], []).boxes == ()
    one = picture_of([100.0], [])
    assert one.bounds.holds(one.boxes[0])


def test_frames_hold_their_boxes_and_no_others():
    edges = [*chain(8), (1, 6)]
    frames = [Frame("outer", "outer", (1, 2, 3, 4)), Frame("inner", "a longer title", (2, 3))]
    picture = picture_of([100.0] * 8, edges, frames)
    around = {frame.key: rect for frame, rect in picture.frames}
    assert around.keys() == {"outer", "inner"}
    assert around["outer"].holds(around["inner"])
    for box, rect in enumerate(picture.boxes):
        assert around["outer"].holds(rect) == (box in (1, 2, 3, 4))
        assert around["outer"].meets(rect) == (box in (1, 2, 3, 4))
        assert around["inner"].meets(rect) == (box in (2, 3))


def test_a_frame_that_would_hold_a_box_of_others_is_left_out_and_takes_no_room():
    edges = chain(4)
    with_frame = picture_of([100.0] * 4, edges, [Frame("torn", "torn", (0, 2))])
    assert with_frame.frames == ()
    assert with_frame.boxes == picture_of([100.0] * 4, edges).boxes


def test_a_dense_graph_stays_within_the_budget_of_a_chart():
    edges = list(itertools.combinations(range(40), 2))
    picture = picture_of([100.0] * 40, edges)
    assert len(picture.arrows) == len(edges)
    assert sum(len(line.points) for line in picture.arrows) <= MAX_LINE_POINTS


def test_a_name_that_fits_is_whole_and_a_longer_one_keeps_its_ends():
    assert fitting("short", is_name=True) == "short"
    long = "a" * 500 + "z"
    cut = fitting(long, is_name=True)
    assert cut.startswith("aaa")
    assert cut.endswith("z")
    assert "…" in cut
    assert box_width(cut, "") <= box_width(long, "") == 216
