"""The CRC-32 of two pieces put together, from the CRC-32 of each: so that bytes are looked at once.

A CRC-32 is the remainder of the message, as a polynomial over two values, divided by a fixed polynomial of degree 32.
Putting n bytes behind a message multiplies it by x^(8n), so that crc(A + B) = crc(A) * x^(8 len(B)) + crc(B).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

_POLYNOMIAL = 0xEDB88320  # bits reversed, as zlib has it
_ONE = 1 << 31
_X = 1 << 30


def join_crc32(first: int, second: int, second_bytes: int) -> int:
    """The CRC-32 of two pieces, of which the second has so many bytes; as `zlib.crc32` of both together."""
    return _times(_power(8 * second_bytes), first) ^ second


def join_all_crc32(pieces: Iterable[tuple[int, int]]) -> int:
    """The CRC-32 of pieces one after the other, each given as (its CRC-32, its bytes); 0 for none."""
    joined = 0
    for crc, num_bytes in pieces:
        joined = join_crc32(joined, crc, num_bytes)
    return joined


def _times(one: int, other: int) -> int:
    product, bit = 0, _ONE
    while bit:
        if one & bit:
            product ^= other
        bit >>= 1
        other = (other >> 1) ^ _POLYNOMIAL if other & 1 else other >> 1
    return product


@cache
def _square(number: int) -> int:
    """x^(2^number)."""
    return _X if number == 0 else _times(_square(number - 1), _square(number - 1))


def _power(exponent: int) -> int:
    """x^exponent."""
    power, number = _ONE, 0
    while exponent:
        if exponent & 1:
            power = _times(power, _square(number))
        exponent >>= 1
        number += 1
    return power
