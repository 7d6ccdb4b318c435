"""Steps are counted while they are even, and kept as they are from the first one that is not."""

import gc

import numpy as np
import pytest

from explorer.reading.buffers import Buffer, Ramps, Steps
from explorer.storage.points import EvenSteps


@pytest.fixture
def steps():
    return Steps(Ramps(), lambda: iter(()))


@pytest.mark.parametrize(
    "blocks",
    [
        [EvenSteps(0, 1, 5), EvenSteps(5, 1, 5)],
        [EvenSteps(0, 10, 5), [50, 60], [70]],
        [EvenSteps(0, 10, 5), [51], EvenSteps(60, 10, 3), [1_000]],
        [EvenSteps(-3, 2, 2), EvenSteps(1, 3, 2)],
        [[4], [7], [10, 13]],
        [[1, 2, 4], EvenSteps(5, 1, 3)],
        [[2**63 - 2], [2**63 - 1]],
    ],
)
def test_steps_are_those_that_were_added(steps, blocks):
    expected = []
    for block in blocks:
        even = isinstance(block, EvenSteps)
        before = steps.view()
        copy = before.tolist()
        steps.append(block if even else np.array(block))
        expected += block.array().tolist() if even else block
        assert steps.view().tolist() == expected
        assert (steps.last, steps.num) == (expected[-1], len(expected))
        assert before.tolist() == copy


def test_even_steps_of_many_series_are_one_array_that_nobody_can_change():
    ramps = Ramps()
    short, long = ramps.view(EvenSteps(0, 1, 10)), ramps.view(EvenSteps(0, 1, 1_000))
    again = ramps.view(EvenSteps(0, 1, 500))
    assert short.tolist() == list(range(10))
    assert np.shares_memory(long, again)
    with pytest.raises(ValueError, match="read-only"):
        long[0] = 1


def test_a_ramp_is_let_go_with_the_last_series_that_has_it():
    ramps = Ramps()
    kept = ramps.view(EvenSteps(0, 2, 100))
    gc.collect()
    assert len(ramps._ramps) == 1
    del kept
    gc.collect()
    assert len(ramps._ramps) == 0


def test_what_was_put_into_the_room_of_a_buffer_is_not_copied_and_the_rest_is():
    buffer = Buffer(np.float64)
    buffer.reserve(10)
    room = buffer.room(3)
    room[:] = 1, 2, 3
    buffer.append(room)
    later = buffer.room(4)
    later[:] = 9, 9, 4, 5
    buffer.append(later[2:])  # not where it belongs: it is moved
    assert buffer.view(5).tolist() == [1, 2, 3, 4, 5]
    assert np.shares_memory(room, buffer.view(5))
    buffer.append(np.arange(6.0, 26.0))
    assert buffer.view(25).tolist() == [float(value) for value in range(1, 26)]
