"""A journal gives back whole rows only, whatever happened to its bytes."""

import json
import random
import struct
import zlib

import numpy as np
import pytest

from explorer.storage import journal, journal_scan
from explorer.storage.journal import HEADER_BYTES, Header, Shape
from explorer.storage.journal_scan import scan


def read(data, *, final=True, shapes=None, offset=HEADER_BYTES):
    """((step, names, value bits), ... in the order of the journal) and the scan itself."""
    data = bytes(data)
    found = scan(data, offset, len(data) // 8 * 8, {} if shapes is None else shapes, final=final)
    rows = []
    for part in found.rows:
        for order, words in zip(part.order, part.words, strict=True):
            rows.append((int(order), int(words[:1].view(np.int64)[0]), part.shape.names, tuple(map(int, words[2:]))))
    return [row[1:] for row in sorted(rows)], found


def bits(*values):
    return tuple(struct.unpack("@Q", struct.pack("@d", value))[0] for value in values)


def test_a_header_says_whose_rows_these_are():
    header = Header(-123_456_789, 9_999, 99_999, 999_999)
    assert len(header.encode()) == HEADER_BYTES
    assert Header.decode(header.encode()) == header


def test_a_header_with_any_flipped_bit_is_refused_or_reads_the_same():
    whole = Header(2**62, 1, 2, 3).encode()
    for bit in range(HEADER_BYTES * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        try:
            assert Header.decode(bytes(data)) == Header(2**62, 1, 2, 3)
        except ValueError:
            continue


@pytest.mark.parametrize("names", [["a"], ["ü 🔥", "a/b", ""], [f"m{n}" for n in range(4_096)], ['"\\\n\t']])
def test_a_definition_gives_back_its_shape(names):
    shape = Shape(7, names, "dq" * (len(names) // 2) + "d" * (len(names) % 2))
    again = Shape.from_definition(shape.definition())
    assert (again.number, again.names, again.kinds) == (7, tuple(names), shape.kinds)
    assert len(shape.definition()) % 8 == 0


@pytest.mark.parametrize(
    "text",
    [
        {"names": ["a"], "kinds": "x"},
        {"names": ["a"], "kinds": "dd"},
        {"names": ["a", "a"], "kinds": "dd"},
        {"names": [1], "kinds": "d"},
        {"names": ["\ud800"], "kinds": "d"},
        {"names": "a", "kinds": "d"},
        {"names": [], "kinds": ""},
        {"kinds": "d"},
        [],
        "x",
        None,
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(text):
    body = json.dumps(text).encode()
    body += b" " * (-len(body) % 8)
    row = struct.pack("@IIqq", 0, 32 + len(body), 1, 1) + body + bytes(8)
    with pytest.raises((ValueError, TypeError, KeyError)):
        Shape.from_definition(row)


def test_rows_come_back_in_order_with_their_bits(journal_bytes):
    loss, both = journal_bytes.define(["loss"]), journal_bytes.define(["loss", "n"], "dq")
    nan = struct.unpack("@d", struct.pack("@Q", 0x7FF0000000000001))[0]
    journal_bytes.row(loss, 0, -0.0).row(both, -5, nan, 2**63 - 1).row(loss, 2**63 - 1, float("inf"))
    rows, found = read(journal_bytes.data)
    assert rows[0] == (0, ("loss",), (1 << 63,))
    assert rows[1][:2] == (-5, ("loss", "n"))
    assert rows[1][2][1] == 2**63 - 1
    assert rows[2] == (2**63 - 1, ("loss",), bits(float("inf")))
    assert found.damaged == 0
    assert found.next_offset == len(journal_bytes.data)


def test_a_row_that_is_being_written_is_not_shown_and_comes_later(journal_bytes):
    shape = journal_bytes.define(["a"])
    journal_bytes.row(shape, 0, 1.0).row(shape, 1, 2.0, checksum=False)
    whole = bytes(journal_bytes.data)
    half = bytearray(whole)
    half[-8:] = bytes(8)
    shapes = {}
    rows, found = read(half, final=False, shapes=shapes)
    assert [row[0] for row in rows] == [0]
    rows, found = read(whole, final=False, shapes=shapes, offset=found.next_offset)
    assert [row[0] for row in rows] == [1]
    assert found.damaged == 0


def test_a_row_of_another_thread_that_is_still_being_written_holds_back_the_rows_behind_it(journal_bytes):
    shape = journal_bytes.define(["a"])
    for step in range(5):
        journal_bytes.row(shape, step, float(step))
    data = bytearray(journal_bytes.data)
    hole = len(data) - 3 * shape.row_bytes
    data[hole : hole + shape.row_bytes] = bytes(shape.row_bytes)
    rows, found = read(data, final=False)
    assert [row[0] for row in rows] == [0, 1]
    assert found.next_offset == hole
    rows, found = read(data, final=True)
    assert [row[0] for row in rows] == [0, 1, 3, 4]
    assert found.damaged == 1


def test_a_place_that_stays_empty_while_a_hundred_rows_follow_is_passed(journal_bytes):
    shape = journal_bytes.define(["a"])
    journal_bytes.data += bytes(shape.row_bytes)
    for step in range(100):
        journal_bytes.row(shape, step, 1.0)
    rows, found = read(journal_bytes.data, final=False)
    assert len(rows) == 100
    assert found.damaged == 1


def test_any_flipped_bit_costs_at_most_its_row(journal_bytes):
    a, b = journal_bytes.define(["a"]), journal_bytes.define(["b", "c"], "dq")
    for step in range(3):
        journal_bytes.row(a, step, step / 3).row(b, step, -step / 7, 2**60 + step)
    truth, _ = read(journal_bytes.data)
    assert len(truth) == 6
    for bit in range(HEADER_BYTES * 8, len(journal_bytes.data) * 8):
        data = bytearray(journal_bytes.data)
        data[bit // 8] ^= 1 << bit % 8
        rows, found = read(data)
        assert len(rows) >= 5, f"bit {bit}"
        assert set(rows) <= set(truth), f"bit {bit}"
        assert len(rows) == 6 or found.damaged or rows == truth[:-1], f"bit {bit}"


def test_random_garbage_over_a_journal_never_gives_a_wrong_row(journal_bytes):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    shapes = [journal_bytes.define([f"m{n}" for n in range(width)]) for width in (1, 2, 3)]
    for step in range(60):
        shape = chance.choice(shapes)
        journal_bytes.row(shape, step, *(chance.random() for _ in shape.names))
    truth = set(read(journal_bytes.data)[0])
    for _ in range(600):
        data = bytearray(journal_bytes.data)
        for _ in range(chance.randrange(1, 4)):
            at, size = chance.randrange(HEADER_BYTES, len(data)), chance.randrange(1, 200)
            data[at : at + size] = chance.randbytes(len(data[at : at + size]))
        rows, _ = read(data)
        assert set(rows) <= truth


def test_a_journal_cut_at_any_byte_gives_the_rows_before_the_cut(journal_bytes):
    shape = journal_bytes.define(["a", "b"])
    start = len(journal_bytes.data)
    for step in range(5):
        journal_bytes.row(shape, step, 1.0, 2.0)
    for size in range(HEADER_BYTES, len(journal_bytes.data) + 1):
        rows, found = read(journal_bytes.data[:size])
        assert [row[0] for row in rows] == list(range(max(0, size - start) // shape.row_bytes))
        assert found.damaged == 0


def test_values_that_look_like_rows_are_values(journal_bytes):
    inner = journal_bytes.define(["x"])
    outer = journal_bytes.define([f"m{n}" for n in range(8)], "q" * 8)
    fake = bytearray(inner.row_bytes)
    inner.pack_into(fake, 0, inner.head, 77, 88, 99.0, inner.whole)
    journal_bytes.row(outer, 1, 0, 0, *struct.unpack("@5q", fake), 0).row(inner, 2, 3.0)
    rows, _ = read(journal_bytes.data)
    assert [row[0] for row in rows] == [1, 2]


def test_one_good_copy_of_a_definition_is_enough(journal_bytes):
    shape = journal_bytes.define(["a"], times=2)
    journal_bytes.row(shape, 0, 1.0)
    size = len(shape.definition())
    for first in (HEADER_BYTES, HEADER_BYTES + size):
        data = bytearray(journal_bytes.data)
        data[first : first + size] = bytes(size)
        assert [row[0] for row in read(data)[0]] == [0]


def test_a_journal_of_nothing_but_zeros_or_ones_has_no_rows():
    header = Header(0, 1, 0, 1).encode()
    for filler in (b"\0", b"\xff", b"\x01"):
        rows, found = read(header + filler * 65_536)
        assert rows == []
        assert found.damaged == 0


def test_a_journal_full_of_places_that_look_like_rows_is_not_read_many_times_over(journal_bytes, monkeypatch):
    looked_at = []
    checksums = journal_scan.checksums
    monkeypatch.setattr(journal_scan, "checksums", lambda block: looked_at.append(block.size) or checksums(block))
    shape = journal_bytes.define([f"m{n}" for n in range(4000)])
    head = struct.pack("=d", shape.head)
    data = journal_bytes.data + head * ((1 << 20) // 8)
    rows, _ = read(data)
    assert rows == []
    assert 0 < sum(looked_at) * 8 <= 4 * len(data)


def test_a_journal_full_of_places_that_look_like_definitions_is_not_read_many_times_over(monkeypatch):
    looked_at = []
    adler32 = zlib.adler32
    monkeypatch.setattr(journal_scan.zlib, "adler32", lambda row: looked_at.append(len(row)) or adler32(row))
    words = np.arange((1 << 17), 0, -1, dtype=np.uint64) * np.uint64(8) // np.uint64(16) * np.uint64(8) << np.uint64(32)
    data = Header(0, 1, 0, 1).encode() + words.tobytes()
    rows, _ = read(data)
    assert rows == []
    assert 0 < sum(looked_at) <= 4 * len(data)


def test_a_checksum_sees_every_single_bit_and_every_swap_of_words():
    words = np.array([[3, 1, 4, 1, 5, 9, 2, 6]], np.uint64)
    whole = int(journal.checksums(words)[0])
    for bit in range(8 * 64):
        changed = words.copy()
        changed[0, bit // 64] ^= np.uint64(1 << bit % 64)
        assert int(journal.checksums(changed)[0]) != whole
    assert int(journal.checksums(words[:, ::-1])[0]) != whole
