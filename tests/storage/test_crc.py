"""Checksums put together are those that zlib computes of the whole."""

import random
import zlib

import pytest

from explorer.storage.crc import join_all_crc32, join_crc32


@pytest.mark.parametrize("size", [0, 1, 7, 255, 256, 65_537, 3_000_000])
def test_two_pieces_have_the_checksum_of_the_whole_wherever_it_is_cut(size):
    data = random.Random(size).randbytes(size)
    for cut in {0, 1, size // 3, size - 1, size} & set(range(size + 1)):
        first, second = data[:cut], data[cut:]
        assert join_crc32(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(data)


def test_many_pieces_have_the_checksum_of_the_whole():
    pieces = [random.Random(number).randbytes(number * 37) for number in range(20)]
    assert join_all_crc32((zlib.crc32(piece), len(piece)) for piece in pieces) == zlib.crc32(b"".join(pieces))
    assert join_all_crc32([]) == zlib.crc32(b"")
