import time

import psutil
import pytest
import torch

from explorer.recording.system import SystemSampler

STAT = "cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n"
DISKS = """   8       0 sda 10 0 {read} 0 5 0 {written} 0 0 0 0
   8       1 sda1 10 0 {read} 0 5 0 {written} 0 0 0 0
   7       0 loop0 10 0 999999 0 5 0 999999 0 0 0 0
"""
LINKS = """Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 9999999 0 0 0 0 0 0 0 9999999 0 0 0 0 0 0 0
  eth0: {received} 0 0 0 0 0 0 0 {sent} 0 0 0 0 0 0 0
"""


@pytest.fixture
def kernel(tmp_path):
    """Writes the kernel's tables with given counters."""

    def write(user, idle, read, written, received, sent):
        (tmp_path / "net").mkdir(exist_ok=True)
        (tmp_path / "stat").write_text(STAT.format(user=user, idle=idle))
        (tmp_path / "diskstats").write_text(DISKS.format(read=read, written=written))
        (tmp_path / "net" / "dev").write_text(LINKS.format(received=received, sent=sent))
        (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemFree: 10 kB\nMemAvailable: 1024 kB\n")
        return tmp_path

    return write


def test_rates_are_what_changed_between_two_samples(kernel, monkeypatch):
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    sampler = SystemSampler(".", proc=kernel(user=100, idle=900, read=0, written=0, received=0, sent=0))
    kernel(user=175, idle=925, read=4096, written=8192, received=2 << 20, sent=1 << 20)
    values = sampler.sample()
    assert values["system/cpu_percent"] == 75.0
    assert values["system/memory_percent"] == 75.0
    assert values["system/memory_mib"] == 3.0
    assert values["system/disk_read_mib_per_s"] == 1.0  # 4096 sectors of 512 bytes in 2 s, the partition not counted
    assert values["system/disk_write_mib_per_s"] == 2.0
    assert values["system/network_received_mib_per_s"] == 1.0
    assert values["system/network_sent_mib_per_s"] == 0.5


def test_a_counter_that_went_back_gives_no_value(kernel):
    sampler = SystemSampler(".", proc=kernel(user=100, idle=900, read=4096, written=0, received=5, sent=5))
    kernel(user=50, idle=400, read=0, written=0, received=5, sent=5)
    values = sampler.sample()
    assert "system/cpu_percent" not in values
    assert "system/disk_read_mib_per_s" not in values


def test_damaged_tables_cost_only_their_own_values(kernel):
    proc = kernel(user=100, idle=900, read=0, written=0, received=0, sent=0)
    sampler = SystemSampler(".", proc=proc)
    (proc / "diskstats").write_bytes(b"\xff\xfe garbage")
    (proc / "meminfo").write_text("")
    values = sampler.sample()
    assert "system/network_sent_mib_per_s" in values
    assert "system/memory_mib" not in values


def test_values_of_this_machine_agree_with_psutil(tmp_path):
    values = SystemSampler(tmp_path).sample()
    assert all(name.startswith("system/") and isinstance(value, float) for name, value in values.items())
    assert values["system/process_memory_mib"] == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.1)
    assert values["system/memory_percent"] == pytest.approx(psutil.virtual_memory().percent, abs=5)
    assert values["system/disk_percent"] == pytest.approx(psutil.disk_usage(str(tmp_path)).percent, abs=1)


def test_a_busy_process_is_seen(tmp_path):
    sampler = SystemSampler(tmp_path)
    began, started = time.perf_counter(), time.process_time()
    while time.process_time() - started < 0.1:
        pass
    share = 100 * 0.1 / (time.perf_counter() - began)  # what a busy machine leaves it
    assert sampler.sample()["system/process_cpu_percent"] == pytest.approx(share, rel=0.5)


def test_a_root_that_is_gone_costs_only_the_disks_fill(tmp_path):
    values = SystemSampler(tmp_path / "gone").sample()
    assert "system/disk_percent" not in values
    assert "system/memory_percent" in values


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_is_read_once_the_process_uses_it(tmp_path):
    sampler = SystemSampler(tmp_path)
    tensor = torch.ones(1 << 20, device="cuda")
    values = sampler.sample()
    assert values["system/gpu0_allocated_mib"] >= tensor.nbytes / 2**20
    assert 0 <= values["system/gpu0_percent"] <= 100
    assert 0 < values["system/gpu0_memory_percent"] <= 100
    assert values["system/gpu0_power_w"] > 0
