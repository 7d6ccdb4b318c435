"""A tensor is taken for unchanged only when all of its bits are the same."""

import zlib

import numpy as np
import pytest

from explorer.recording.snapshots.unchanged import MIN_SHARED_BYTES, StoredTensors, fingerprint


def mark(data, dtype="float32", shape=(1,)):
    return fingerprint(dtype, shape, memoryview(data))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 4_096, 4_099])
def test_equal_bytes_have_equal_fingerprints_and_one_flipped_bit_makes_another(size):
    data = bytearray(np.random.default_rng(size).bytes(size))
    before = mark(bytes(data))
    assert mark(data) == before
    assert before.crc32 == zlib.crc32(data)
    for at in {0, size // 2, size - 1} if size else ():
        data[at] ^= 1
        assert mark(data) != before
        data[at] ^= 1


def test_another_type_or_shape_is_another_tensor():
    data = bytes(16)
    assert len({mark(data), mark(data, dtype="int32"), mark(data, shape=(4,))}) == 3


def test_two_tensors_whose_crc32_is_equal_by_accident_differ():
    table = {}
    random = np.random.default_rng(0)
    for _ in range(400_000):  # the birthday paradox: about 18 pairs are expected
        data = random.bytes(8)
        twin = table.setdefault(zlib.crc32(data[:7]), data[:7])
        if twin != data[:7]:
            assert mark(twin).crc32 == mark(data[:7]).crc32
            assert mark(twin) != mark(data[:7])
            return
    raise AssertionError("no two texts of equal crc32 were found")


def test_the_step_that_holds_the_bytes_is_found_until_it_is_forgotten():
    stored, same = StoredTensors(), mark(b"a" * 8)
    assert stored.find("x", same, MIN_SHARED_BYTES) is None
    stored.add("x", same, 10)
    assert stored.find("x", same, MIN_SHARED_BYTES) == 10
    assert stored.find("y", same, MIN_SHARED_BYTES) is None
    assert stored.find("x", mark(b"b" * 8), MIN_SHARED_BYTES) is None
    stored.forget_step(11)
    assert stored.find("x", same, MIN_SHARED_BYTES) == 10
    stored.forget_step(10)
    assert stored.find("x", same, MIN_SHARED_BYTES) is None


def test_a_few_bytes_are_rather_written_again():
    stored = StoredTensors()
    stored.add("x", mark(b"a"), 10)
    assert stored.find("x", mark(b"a"), MIN_SHARED_BYTES - 1) is None
