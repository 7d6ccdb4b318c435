import pytest
import torch

from explorer.errors import OutOfMemory, UsageError
from explorer.inference.devices import available_devices, pick_device, run_or_fall_back


def test_the_cpu_is_always_there_and_last():
    assert available_devices()[-1].name == "cpu"


def test_the_first_device_is_picked_unless_one_is_named():
    assert str(pick_device()) == available_devices()[0].name
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="there are"):
        pick_device("cuda:77")


def test_what_does_not_fit_runs_on_the_cpu_and_says_so():
    def run(device):
        if device.type != "cpu":
            raise OutOfMemory("too little memory for aten.mm at mm")
        return 7

    found, device, message = run_or_fall_back(run, torch.device("meta"))
    assert (found, device.type) == (7, "cpu")
    assert message == "too little memory for aten.mm at mm. It ran on the CPU instead"
    assert run_or_fall_back(run, torch.device("cpu")) == (7, torch.device("cpu"), "")


def test_a_cpu_that_is_too_small_is_an_error():
    def run(device):
        raise OutOfMemory("no")

    with pytest.raises(OutOfMemory):
        run_or_fall_back(run, torch.device("cpu"))
