import sys
from types import SimpleNamespace

import pytest
import torch

from explorer.recording.gpu import GpuSampler

UUID = "e7a1c0de-0000-1111-2222-333344445555"
NOT_SUPPORTED = 3


class Driver:
    """Stands in for libnvidia-ml.so.1: two devices, of which this process sees the second one."""

    def __init__(self, missing=()):
        self.missing = missing

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, name, handle):
        if name != f"GPU-{UUID}".encode():
            return 2
        handle._obj.value = 0xBEEF
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle, load):
        assert handle.value == 0xBEEF
        load._obj.gpu, load._obj.memory = 87, 12
        return self._code("load")

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.total, memory._obj.used, memory._obj.free = 8 << 30, 2 << 30, 6 << 30
        return self._code("memory")

    def nvmlDeviceGetPowerUsage(self, handle, milliwatt):
        milliwatt._obj.value = 250_500
        return self._code("power")

    def nvmlDeviceGetTemperature(self, handle, sensor, celsius):
        celsius._obj.value = 61
        return self._code("temperature")

    def _code(self, what):
        return NOT_SUPPORTED if what in self.missing else 0


@pytest.fixture
def process_with_gpu(monkeypatch):
    """A process whose torch uses one GPU and holds 3 MiB on it."""
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        get_device_properties=lambda index: SimpleNamespace(uuid=UUID),
        memory_allocated=lambda index: 3 << 20,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


@pytest.mark.usefixtures("process_with_gpu")
def test_a_gpu_is_found_by_its_uuid_and_read_in_our_units():
    assert GpuSampler(lambda name: Driver()).sample() == {
        "system/gpu0_percent": 87.0,
        "system/gpu0_memory_mib": 2048.0,
        "system/gpu0_memory_percent": 25.0,
        "system/gpu0_power_w": 250.5,
        "system/gpu0_temperature_c": 61.0,
        "system/gpu0_allocated_mib": 3.0,
    }


@pytest.mark.usefixtures("process_with_gpu")
def test_what_a_device_does_not_tell_is_left_out():
    values = GpuSampler(lambda name: Driver(missing=("load", "power"))).sample()
    assert set(values) == {
        f"system/gpu0_{name}" for name in ("memory_mib", "memory_percent", "temperature_c", "allocated_mib")
    }


@pytest.mark.usefixtures("process_with_gpu")
def test_without_the_drivers_library_the_allocator_still_counts():
    def missing(name):
        raise OSError(name)

    assert GpuSampler(missing).sample() == {"system/gpu0_allocated_mib": 3.0}


@pytest.mark.skipif(torch.cuda.is_initialized(), reason="this process uses its GPU already")
def test_a_process_that_uses_no_gpu_asks_for_none():
    assert GpuSampler(lambda name: pytest.fail("opened the driver")).sample() == {}
