"""Values that look like numbers and are none, or that raise when they are read: left out and said, never an error."""

import time

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from explorer import RecorderWarning
from explorer.recording import values
from explorer.recording.values import clean_row


class ShapedLikeANumber:
    shape = 5
    dtype = None


class Stubborn:
    @property
    def shape(self):
        raise RuntimeError("not built yet")


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked,
        np.ma.array([1.0], mask=[True]),
        ShapedLikeANumber(),
        Stubborn(),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        torch.ones((), device="meta"),
    ],
)
def test_what_has_no_number_is_refused(value):
    row = clean_row({"a": value, "loss": 0.5})
    assert row.names == ["loss"]
    assert [name for name, _ in row.refused] == ["a"]


def test_a_masked_array_whose_value_is_there_is_a_number():
    assert clean_row({"a": np.ma.array([2.5], mask=[False])}).values == [2.5]


def test_a_tensor_of_vmap_or_of_tracing_raises_nothing_into_the_training(record, rows_of):
    recorder = record()

    def step(x):
        recorder.log({"inside": x.sum(), "lr": 0.1})
        return x

    with pytest.warns(RecorderWarning, match="inside.*cannot be read"):
        torch.func.vmap(step)(torch.ones(3, 2))
    with FakeTensorMode():
        recorder.log({"inside": torch.ones(()), "lr": 0.2})
    recorder.close()
    assert [row for *_, row in rows_of(recorder.path)] == [{"lr": 0.1}, {"lr": 0.2}]


def test_a_large_list_costs_no_look_at_all_of_it():
    large = [*range(3_000_000)]
    began = time.thread_time()
    row = clean_row({"a": large})
    assert time.thread_time() - began < 0.01  # its text alone takes 0.3 s
    assert row.refused


def test_a_tensor_on_a_device_is_not_printed(monkeypatch):
    monkeypatch.setattr(values, "is_on_device", lambda value: isinstance(value, torch.Tensor))

    def fail(*_):
        raise AssertionError("printing a tensor waits for its device")

    monkeypatch.setattr(torch.Tensor, "__repr__", fail)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    assert clean_row({"a": nested, "b": torch.ones(4)}).names == []
