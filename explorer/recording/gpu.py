"""Load of the GPUs that this process uses, from the driver's management library (NVML). Starts no device."""

import contextlib
import ctypes
import sys
from collections.abc import Callable
from typing import Any

_MIB = 1 << 20
_TEMPERATURE_OF_CHIP = 0


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class GpuSampler:
    """Reads the GPUs of this process once it uses them; before that, and without a GPU, it reads nothing.

    The C library is called through ctypes: no package to install, and no call that starts CUDA or waits for the device.
    """

    def __init__(self, load_library: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._load_library = load_library
        self._nvml: Any = None
        self._handles: dict[int, ctypes.c_void_p] | None = None

    def sample(self) -> dict[str, float]:
        """Values of now, named ``system/gpu<index>_...`` with torch's index.

        ``percent`` (time in which a kernel ran), ``memory_mib`` and ``memory_percent`` (of the whole device),
        ``power_w``, ``temperature_c``, and ``allocated_mib`` (held by this process's tensors). What a device does not
        tell is left out.
        """
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return {}
        if self._handles is None:
            self._handles = self._open(torch)
        values: dict[str, float] = {}
        for index, handle in self._handles.items():
            values.update({f"system/gpu{index}_{name}": value for name, value in self._read(handle).items()})
        for index in range(torch.cuda.device_count()):
            if allocated := torch.cuda.memory_allocated(index):
                values[f"system/gpu{index}_allocated_mib"] = allocated / _MIB
        return values

    def _open(self, torch: Any) -> dict[int, ctypes.c_void_p]:  # noqa: ANN401 - the module
        """Handles by torch's index, matched by UUID: CUDA_VISIBLE_DEVICES renumbers the devices."""
        handles = {}
        with contextlib.suppress(OSError, AttributeError, RuntimeError, AssertionError):
            self._nvml = self._load_library("libnvidia-ml.so.1")
            if self._nvml.nvmlInit_v2() != 0:
                return {}
            for index in range(torch.cuda.device_count()):
                uuid = str(torch.cuda.get_device_properties(index).uuid)
                for name in (uuid, f"GPU-{uuid}", f"MIG-{uuid}"):
                    handle = ctypes.c_void_p()
                    if self._nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)) == 0:
                        handles[index] = handle
                        break
        return handles

    def _read(self, handle: ctypes.c_void_p) -> dict[str, float]:
        values: dict[str, float] = {}
        load, memory, number = _Utilization(), _Memory(), ctypes.c_uint()
        if self._nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(load)) == 0:
            values["percent"] = float(load.gpu)
        if self._nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0 and memory.total:
            values["memory_mib"] = memory.used / _MIB
            values["memory_percent"] = 100 * memory.used / memory.total
        if self._nvml.nvmlDeviceGetPowerUsage(handle, ctypes.byref(number)) == 0:
            values["power_w"] = number.value / 1000
        if self._nvml.nvmlDeviceGetTemperature(handle, _TEMPERATURE_OF_CHIP, ctypes.byref(number)) == 0:
            values["temperature_c"] = float(number.value)
        return values
