"""The pinned memory that values on CUDA arrive in, and what a device that fails or hangs costs. Needs no GPU."""

import pytest

from explorer.recording import transfer
from explorer.recording.transfer import DeviceRow, Transfers


class Arrives:
    def __init__(self, numbers=(1.0,), error=None, ready=True):
        self._numbers, self._error, self._ready = list(numbers), error, ready

    def ready(self):
        return self._ready

    def numbers(self):
        if self._error is not None:
            raise self._error
        return self._numbers


def waiting(*arriving):
    transfers = Transfers()
    for step, each in enumerate(arriving):
        transfers._waiting.append(DeviceRow(step, 0, ("a",), each))
    return transfers


@pytest.mark.parametrize("count", [1, 10, 1_000, 40_000])
def test_the_ring_is_empty_again_when_all_has_arrived(count):
    ring = transfer._CudaRing()
    for _ in range(5_000):
        place = ring.take_place(count)
        assert place is not None
        assert place[0] + count <= transfer.RING_VALUES
        ring.give_back(place[1])
    assert ring._used == 0


def test_no_two_rows_on_their_way_share_a_place():
    ring, on_their_way = transfer._CudaRing(), []
    for number in range(2_000):
        place = ring.take_place(7_001)
        if place is None:
            ring.give_back(on_their_way.pop(0)[1])
            continue
        assert all(abs(place[0] - start) >= 7_001 for start, _ in on_their_way), number
        on_their_way.append(place)


def test_a_full_ring_takes_nothing_and_loses_nothing():
    ring = transfer._CudaRing()
    first = ring.take_place(transfer.RING_VALUES)
    assert ring.take_place(1) is None
    ring.give_back(first[1])
    assert ring.take_place(1) is not None


def test_rows_that_arrived_before_a_failure_are_kept():
    transfers = waiting(Arrives([1.0]), Arrives(error=RuntimeError("device-side assert")), Arrives([3.0]))
    assert [(row.step, numbers) for row, numbers in transfers.take()] == [(0, [1.0]), (2, [3.0])]
    assert transfers.num_lost == 1
    assert "device-side assert" in str(transfers.problem)
    assert transfers.num_waiting == 0


def test_a_device_that_hangs_is_waited_for_once(monkeypatch):
    monkeypatch.setattr(transfer, "DEVICE_TIMEOUT_S", 0.01)

    class Event:
        def query(self):
            return False

    stuck = transfer._FromRing(transfer._CudaRing(), None, Event(), 1)
    transfers = waiting(Arrives([1.0]), stuck, stuck, stuck)
    assert [numbers for _, numbers in transfers.take(wait=True)] == [[1.0]]
    assert (transfers.num_lost, transfers.num_waiting) == (3, 0)
    assert "did not finish" in str(transfers.problem)


def test_values_that_a_device_lost_are_counted_and_said(record, summary_of):
    recorder = record()
    recorder._transfers._waiting.append(DeviceRow(0, 0, ("a", "b"), Arrives(error=RuntimeError("out of luck"))))
    with pytest.warns(match="values on a device were lost: out of luck"):
        recorder.close()
    assert summary_of(recorder)["refused_values"] == 2
