"""A tensor is taken for unchanged only when all of its bits are the same."""

import zlib

import numpy as np
import pytest

from explorer.recording.snapshots.unchanged import MIN_SHARED_BYTES, StoredTensors, fingerprint, whole_crc32
from explorer.storage.snapshots import CHUNK_BYTES


def mark(data, dtype="float32", shape=(1,)):
    return fingerprint(dtype, shape, memoryview(data))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 4_096, 4_099, CHUNK_BYTES, 2 * CHUNK_BYTES + 5])
def test_equal_bytes_have_equal_fingerprints_and_one_flipped_bit_makes_another(size):
    data = bytearray(np.random.default_rng(size).bytes(size))
    before = mark(bytes(data))
    assert mark(data) == before
    assert whole_crc32(before, size) == zlib.crc32(data)
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
            assert mark(twin).crc32s == mark(data[:7]).crc32s
            assert mark(twin) != mark(data[:7])
            return
    raise AssertionError("no two texts of equal crc32 were found")


def test_a_tensor_of_other_names_too_is_another_tensor():
    assert fingerprint("float32", (1,), memoryview(b"abcd")) != fingerprint(
        "float32", (1,), memoryview(b"abcd"), ("y",)
    )


BIG = MIN_SHARED_BYTES


def test_the_newest_snapshot_that_holds_the_bytes_itself_is_found():
    stored, same = StoredTensors(), mark(b"a" * 8)
    assert stored.find("x", same, BIG) is None
    stored.add(10, [("x", same)], {})
    stored.add(20, [], {"x": 10})
    assert stored.find("x", same, BIG) == 10
    assert stored.find("y", same, BIG) is None
    assert stored.find("x", mark(b"b" * 8), BIG) is None


def test_bytes_that_others_refer_to_are_needed_until_the_last_of_those_is_gone():
    stored, same, other = StoredTensors(), mark(b"a" * 8), mark(b"b" * 8)
    stored.add(10, [("x", same), ("y", other)], {})
    stored.add(20, [("y", same)], {"x": 10})
    stored.add(30, [("y", other)], {"x": 10})
    assert stored.drop(10) == {"x"}
    assert stored.drop(10) == {"x"}  # asked again, since the disk has failed
    assert stored.find("x", same, BIG) == 10
    assert stored.drop(20) == set()
    assert stored.needed(10) == {"x"}
    stored.drop(30)
    assert stored.needed(10) == set()


def test_a_snapshot_that_is_gone_is_no_source_any_more():
    stored, same = StoredTensors(), mark(b"a" * 8)
    stored.add(10, [("x", same)], {})
    assert stored.drop(10) == set()
    assert stored.find("x", same, BIG) is None


def test_a_few_bytes_are_rather_written_again():
    stored = StoredTensors()
    stored.add(10, [("x", mark(b"a"))], {})
    assert stored.find("x", mark(b"a"), BIG - 1) is None
