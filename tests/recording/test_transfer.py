"""Values on a device arrive without the caller's thread ever waiting for them. (A CPU tensor plays the device.)"""

import threading
import time

import pytest
import torch

from explorer import RecorderWarning
from explorer.recording import transfer
from explorer.recording.transfer import Transfers


@pytest.fixture
def device(monkeypatch):
    """Every tensor counts as one on a device; whoever reads one in the main thread is caught."""
    read_by = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if getattr(function, "__name__", "") in ("item", "cpu", "tolist", "__float__", "to", "numpy", "__bool__"):
                read_by.append(threading.current_thread())
            return super().__torch_function__(function, types, args, kwargs or {})

    monkeypatch.setattr("explorer.recording.values.is_on_device", lambda value: isinstance(value, torch.Tensor))
    return lambda value: torch.tensor(value).as_subclass(Watched), read_by


def test_only_the_writer_reads_a_value_on_a_device(record, rows_of, device):
    make, read_by = device
    recorder = record()
    for step in range(100):
        recorder.log({"loss": make(float(step)), "acc": make(-0.5 * step), "lr": 0.1}, step=step)
    recorder.close()
    assert rows_of(recorder.path) == [(1, 0, n, {"loss": n, "acc": -0.5 * n, "lr": 0.1}) for n in range(100)]
    assert read_by
    assert threading.main_thread() not in read_by


def test_a_value_is_that_of_the_moment_of_log(record, rows_of, device):
    make, _ = device
    recorder, loss = record(), make(1.0)
    for step in range(5):
        recorder.log({"loss": loss}, step=step)
        loss += 1.0  # in place, at once
    recorder.close()
    assert [row["loss"] for *_, row in rows_of(recorder.path)] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_device_that_is_busy_holds_up_neither_log_nor_the_other_rows(record, rows_of, device, monkeypatch):
    make, _ = device
    finished = threading.Event()
    monkeypatch.setattr(transfer._OnDevice, "ready", lambda self: finished.is_set())
    recorder = record()
    began = time.monotonic()
    for step in range(200):
        recorder.log({"loss": make(float(step))}, step=step)
        recorder.log({"plain": float(step)}, step=step)
    assert time.monotonic() - began < 1.0
    time.sleep(0.1)
    assert recorder._transfers.num_waiting == 200
    finished.set()
    recorder.close()
    assert rows_of(recorder.path) == [(1, 0, n, {"loss": n, "plain": n}) for n in range(200)]


def test_values_that_pile_up_are_refused_and_counted(record, summary_of, device, monkeypatch):
    make, _ = device
    monkeypatch.setattr("explorer.recording.recorder.MAX_WAITING_TRANSFERS", 10)
    monkeypatch.setattr(transfer._OnDevice, "ready", lambda self: False)
    recorder = record()
    with pytest.warns(RecorderWarning, match="values on a device were left out"):
        [recorder.log({"loss": make(1.0)}) for _ in range(30)]
    recorder.close()
    summary = summary_of(recorder)
    assert summary["refused_values"] == 20
    assert summary["rows"] == 10


def test_a_device_that_fails_harms_only_its_values(record, rows_of, device, monkeypatch):
    make, _ = device

    def fail(*_):
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(Transfers, "start", fail)
    recorder = record()
    with pytest.warns(RecorderWarning):
        recorder.log({"loss": make(1.0), "lr": 0.1})
    recorder.close()
    assert [row for *_, row in rows_of(recorder.path)] == [{"lr": 0.1}]


def test_a_tensor_with_several_values_on_a_device_is_refused_unread(record, device):
    make, read_by = device
    with pytest.warns(RecorderWarning, match=r"shape \(2,\)"):
        record().log({"loss": make([1.0, 2.0])})
    assert threading.main_thread() not in read_by
