"""The way of an accelerator, with a CPU playing one: nothing is read in the training's thread."""

import threading

import pytest
import torch

from explorer import Every, RecorderWarning
from explorer.recording.watching import look, shipping
from explorer.recording.watching.bench import HostBench
from explorer.recording.watching.device import DeviceBench
from explorer.recording.watching.shipping import PinnedPool, Shipment

READS = ("item", "cpu", "numpy", "tolist", "__bool__", "__float__", "__int__", "nonzero")


@pytest.fixture
def on_device(monkeypatch):
    """Every tensor counts as one on an accelerator. Gives back who has read one meanwhile."""
    readers = []

    class Watched(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if getattr(function, "__name__", "") in READS:
                readers.append(threading.current_thread())
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(look, "HostBench", lambda: DeviceBench(torch.device("cpu")))
    monkeypatch.setattr(look.Benches, "ship", _ship_all)
    return Watched(), readers


def _ship_all(self, draft):
    draft.shipments = [bench.ship() for bench in self._benches.values() if not bench.is_empty]


def training(record, mlp, train, guard=None):
    model, recorder = mlp(), record()
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    recorder.watch(model, optimizer, schedule=Every(1))

    def steps():
        for step in range(4):
            loss = model(torch.full((16, 8), 0.1 * step)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    if guard is None:
        steps()
    else:
        with guard:
            steps()
    recorder.close()
    return recorder


@pytest.mark.parametrize("kind", ["param", "grad", "update", "activation"])
def test_the_same_is_recorded_and_only_the_writer_reads(record, mlp, train, rows_of_kind, on_device, kind, monkeypatch):
    guard, readers = on_device
    monkeypatch.setattr("explorer.recording.watching.device.RAW_VALUES", 50)
    there = rows_of_kind(training(record, mlp, train, guard), kind)
    assert threading.main_thread() not in readers
    monkeypatch.undo()
    here = rows_of_kind(training(record, mlp, train), kind)
    assert there.keys() == here.keys()
    for key, row in here.items():
        for column, value in row.items():
            if value is None or column in ("name", "kind", "bins", "counts", "hash", "step"):
                assert there[key][column] == value
            elif column != "wall_time":
                assert there[key][column] == pytest.approx(value, rel=1e-4, abs=1e-7, nan_ok=True), (key, column)


def test_metrics_are_the_same_too(record, mlp, train, metrics_of, on_device):
    guard, _ = on_device
    metrics = metrics_of(training(record, mlp, train, guard))
    assert all(row["watch/clipped"] == 0.0 for row in metrics.values())
    assert all(
        row["watch/grad_norm"] == pytest.approx(row["watch/grad_norm_before_clipping"]) for row in metrics.values()
    )


class FakeEvent:
    """Passes when the test says so."""

    def __init__(self, passed):
        self._passed = passed

    def record(self):
        pass

    def query(self):
        return self._passed.is_set()


@pytest.fixture
def cuda(monkeypatch):
    """What of CUDA a shipment uses, played by the CPU. `passed` is when the device has done its work."""
    import contextlib

    passed = threading.Event()
    pinned = []

    def empty(size, *, dtype, device, pin_memory):
        assert pin_memory
        pinned.append(size)
        return torch.zeros(size, dtype=dtype, device=device)

    monkeypatch.setattr(torch.cuda, "Event", lambda: FakeEvent(passed))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(shipping.torch, "empty", empty)
    return passed, pinned


def test_a_shipment_is_not_ready_before_its_event_and_gives_its_memory_back(cuda):
    passed, pinned = cuda
    pool, device = PinnedPool(), torch.device("cuda", 0)
    for round_number in range(3):
        shipment = Shipment(device, pool)
        place = shipment.put("floats", torch.arange(10.0, dtype=torch.float64))
        other = shipment.put("floats", torch.tensor([7.0], dtype=torch.float64))
        count = shipment.put("ints", torch.tensor([round_number]))
        passed.clear()
        shipment.send()
        assert not shipment.ready()
        passed.set()
        shipment.arrive()
        assert shipment.floats[place].tolist() == list(range(10))
        assert shipment.floats[other].tolist() == [7.0]
        assert shipment.ints[count].tolist() == [round_number]
    assert pinned == [11, 1]


def test_memory_in_use_is_not_given_out_and_small_leftovers_are_not_hoarded(cuda):
    pool = PinnedPool()
    first, second = pool.take(torch.zeros(10)), pool.take(torch.zeros(20))
    assert first is not second
    pool.give_back(second)
    pool.give_back(first)
    assert pool.take(torch.zeros(5)) is first
    pool.give_back(first)
    other = pool.take(torch.zeros(1, dtype=torch.int64))
    pool.give_back(other)
    assert pool.take(torch.zeros(15)) is second
    assert pool.take(torch.zeros(5)) is not first  # let go when more was needed
    assert pool.take(torch.zeros(1, dtype=torch.int64)) is other


def test_memory_is_never_given_out_twice_however_the_threads_take_turns(cuda):
    class Interrupted(torch.Tensor):
        turn = None

        def numel(self):
            turn, self.turn = self.turn, None
            if turn is not None:
                turn()  # here the interpreter goes over to the other thread
            return super().numel()

    pool, taken = PinnedPool(), []
    slot = torch.zeros(20).as_subclass(Interrupted)
    slot.turn = lambda: taken.append(pool.take(torch.zeros(5)))
    pool.give_back(slot)
    pool.give_back(torch.zeros(10))
    taken += [pool.take(torch.zeros(5)) for _ in range(3)]
    assert len({id(each) for each in taken}) == 4


def test_a_device_that_hangs_is_waited_for_once_and_costs_its_rows(cuda, record, rows_of_kind, summary_of, monkeypatch):
    monkeypatch.setattr(shipping, "DEVICE_TIMEOUT_S", 0.05)
    recorder = record()
    plug = recorder._watch_plug
    from explorer.recording.watching.drafts import Draft, LabelsDraft

    for step in range(3):
        shipment = Shipment(torch.device("cuda", 0), PinnedPool())
        place = shipment.put("ints", torch.tensor([1]))
        shipment.send()
        draft = Draft(step, 0, [LabelsDraft("labels", lambda s=shipment, p=place: s.ints[p])], shipments=[shipment])
        plug.task().take(draft)
    with pytest.warns(RecorderWarning, match="did not finish its work"):
        recorder.close()
    assert not rows_of_kind(recorder, "labels")
    assert summary_of(recorder)["watch"]["failed"] == 3


def test_a_model_on_two_devices_has_two_benches():
    benches = look.Benches()
    assert isinstance(benches.of(torch.zeros(1)), HostBench)
    assert isinstance(benches.of(torch.zeros(1, device="meta")), DeviceBench)
