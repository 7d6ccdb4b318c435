"""System metrics: how busy the machine and this process are. Differences between two calls; nothing sleeps or waits."""

import contextlib
import os
import re
import time
from pathlib import Path

from explorer.recording.gpu import GpuSampler

_MIB = 1 << 20
_SECTOR_BYTES = 512  # of /proc/diskstats, whatever the device's own sector size
_WHOLE_DISK = re.compile(r"(?:sd[a-z]+|vd[a-z]+|xvd[a-z]+|hd[a-z]+|nvme\d+n\d+|mmcblk\d+)")


class SystemSampler:
    """Reads CPU, memory, disk, network and GPU; each call to `sample` covers the time since the last one.

    Every value is a float named ``system/...`` with its unit at the end. What the machine does not tell is left out: no
    value is ever made up. Needs no package; on systems without ``/proc`` it uses psutil when that is installed.

    Args:
        root: a folder on the disk whose fill is of interest (the root of the runs).
        proc: where the kernel's tables are.

    Example:
        >>> SystemSampler(".").sample()["system/disk_percent"] <= 100
        True
    """

    def __init__(self, root: str | os.PathLike[str], proc: Path = Path("/proc")) -> None:
        self._root = Path(root)
        self._proc = proc
        self._gpu = GpuSampler()
        self._counters, self._time = self._read_counters(), time.monotonic()

    def sample(self) -> dict[str, float]:
        """Values of the time since the last call (since the start, at the first one).

        ``cpu_percent`` (of all CPUs), ``process_cpu_percent`` (100 is one CPU), ``memory_percent`` and ``memory_mib``
        (of the machine), ``process_memory_mib``, ``disk_percent`` (how full), ``disk_read_mib_per_s``,
        ``disk_write_mib_per_s``, ``network_received_mib_per_s``, ``network_sent_mib_per_s`` (of the machine), and
        `GpuSampler.sample`.
        """
        counters, now = self._read_counters(), time.monotonic()
        elapsed_s = max(now - self._time, 1e-3)
        change = {name: counters[name] - self._counters[name] for name in counters.keys() & self._counters.keys()}
        self._counters, self._time = counters, now
        values: dict[str, float] = {}
        if change.get("cpu_all", 0) > 0:
            values["system/cpu_percent"] = min(100.0, max(0.0, 100 * change["cpu_busy"] / change["cpu_all"]))
        values["system/process_cpu_percent"] = 100 * change["process_cpu_s"] / elapsed_s
        for name in ("disk_read", "disk_write", "network_received", "network_sent"):
            if change.get(f"{name}_bytes", -1) >= 0:  # a device that leaves takes its counter along
                values[f"system/{name}_mib_per_s"] = change[f"{name}_bytes"] / elapsed_s / _MIB
        values.update(self._memory())
        values.update(self._disk())
        with contextlib.suppress(Exception):  # a driver that fails must cost its own numbers only
            values.update(self._gpu.sample())
        return dict(sorted(values.items()))

    def _read_counters(self) -> dict[str, float]:
        counters: dict[str, float] = {"process_cpu_s": time.process_time()}
        if not (self._proc / "stat").exists():
            return counters | _psutil_counters()
        with contextlib.suppress(OSError, ValueError):
            with (self._proc / "stat").open() as file:
                ticks = [int(field) for field in file.readline().split()[1:9]]  # guest time is in user time already
            counters["cpu_all"] = sum(ticks)
            counters["cpu_busy"] = sum(ticks) - ticks[3] - ticks[4]  # idle, iowait
        with contextlib.suppress(OSError, ValueError):
            disks = [line.split() for line in (self._proc / "diskstats").read_text().splitlines()]
            disks = [fields for fields in disks if len(fields) > 9 and _WHOLE_DISK.fullmatch(fields[2])]
            if disks:
                counters["disk_read_bytes"] = _SECTOR_BYTES * sum(int(fields[5]) for fields in disks)
                counters["disk_write_bytes"] = _SECTOR_BYTES * sum(int(fields[9]) for fields in disks)
        with contextlib.suppress(OSError, ValueError):
            links = [line.partition(":") for line in (self._proc / "net" / "dev").read_text().splitlines()[2:]]
            links = [link for link in links if link[0].strip() != "lo"]
            counters["network_received_bytes"] = sum(int(numbers.split()[0]) for _, _, numbers in links)
            counters["network_sent_bytes"] = sum(int(numbers.split()[8]) for _, _, numbers in links)
        return counters

    def _memory(self) -> dict[str, float]:
        values: dict[str, float] = {}
        if not (self._proc / "meminfo").exists():
            return _psutil_memory()
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = (self._proc / "meminfo").read_text().splitlines()
            kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest}
            used_kib = kib["MemTotal"] - kib["MemAvailable"]
            values["system/memory_mib"] = used_kib / 1024
            values["system/memory_percent"] = 100 * used_kib / kib["MemTotal"]
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident_pages = int((self._proc / "self" / "statm").read_text().split()[1])
            values["system/process_memory_mib"] = resident_pages * os.sysconf("SC_PAGE_SIZE") / _MIB
        return values

    def _disk(self) -> dict[str, float]:
        with contextlib.suppress(OSError, AttributeError):
            disk = os.statvfs(self._root)
            usable = disk.f_blocks - disk.f_bfree + disk.f_bavail  # as df counts: without root's reserve
            if usable:
                return {"system/disk_percent": 100 * (1 - disk.f_bavail / usable)}
        return {}


def _psutil_counters() -> dict[str, float]:
    try:
        import psutil
    except ImportError:
        return {}
    cpu = psutil.cpu_times()
    counters = {"cpu_all": sum(cpu), "cpu_busy": sum(cpu) - cpu.idle}
    if disk := psutil.disk_io_counters():
        counters |= {"disk_read_bytes": disk.read_bytes, "disk_write_bytes": disk.write_bytes}
    if network := psutil.net_io_counters():
        counters |= {"network_received_bytes": network.bytes_recv, "network_sent_bytes": network.bytes_sent}
    return counters


def _psutil_memory() -> dict[str, float]:
    try:
        import psutil
    except ImportError:
        return {}
    memory = psutil.virtual_memory()
    return {
        "system/memory_mib": (memory.total - memory.available) / _MIB,
        "system/memory_percent": memory.percent,
        "system/process_memory_mib": psutil.Process().memory_info().rss / _MIB,
    }
