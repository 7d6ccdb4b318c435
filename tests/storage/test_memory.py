"""Memory for many bytes: the arrays that were asked for, apart from each other, in large pages if there are any."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from explorer.storage.memory import empty_arrays

SIZES = [3, 0, 20 << 20, 65, 1]


def test_arrays_have_the_asked_sizes_and_are_writeable_and_apart():
    arrays = empty_arrays(SIZES)
    assert [(array.dtype, array.nbytes) for array in arrays] == [(np.uint8, size) for size in SIZES]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [set(np.unique(array)) for array in arrays] == [{0}, set(), {2}, {3}, {4}]


@pytest.mark.parametrize("sizes", [SIZES, [5, 7]])
def test_every_array_starts_where_each_dtype_may_start(sizes):
    large = sum(sizes) > 1 << 20
    arrays = empty_arrays(sizes)
    step = 64 if large else 16
    assert [array.ctypes.data % step for array in arrays if array.size] == [0] * sum(map(bool, sizes))


def test_no_sizes_are_no_arrays():
    assert empty_arrays([]) == []


def test_memory_lives_as_long_as_one_of_its_arrays():
    last = empty_arrays([16 << 20, 8])[-1]
    last[:] = 7
    assert last.tolist() == [7] * 8


def test_too_much_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        empty_arrays([1 << 50])


def test_without_large_pages_it_is_the_same(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    arrays = empty_arrays(SIZES)
    arrays[2][:] = 1
    assert [array.nbytes for array in arrays] == SIZES


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage/enabled").is_file()
    or "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(),
    reason="this system has no large pages",
)
def test_a_large_piece_is_in_large_pages():
    def large_kb() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("AnonHugePages")).split()[1])

    before = large_kb()
    held = empty_arrays([64 << 20])[0]
    held[:] = 1
    assert large_kb() - before >= 32 << 10
