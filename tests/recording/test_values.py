"""Whatever is one real number is kept bit for bit; whatever is not is refused with what was found and what to do."""

import decimal
import fractions
import struct

import numpy as np
import pytest
import torch

from explorer import RecorderWarning


def bits(value):
    return struct.pack("@d", value)


SIGNALLING_NAN = struct.unpack("@d", struct.pack("@Q", 0x7FF0000000000001))[0]
NEGATIVE_NAN = struct.unpack("@d", struct.pack("@Q", 0xFFF8DEADBEEF0001))[0]
FLOATS = [0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), NEGATIVE_NAN, SIGNALLING_NAN]


@pytest.mark.parametrize("value", FLOATS)
def test_a_float_keeps_every_bit(recorded, value):
    # Three rows: the first is taken the careful way, the others the fast one when they can be.
    found = recorded({"a": value}, {"a": value}, {"a": value, "b": 1.0}, {"a": value, "b": 1.0})
    assert [bits(row["a"]) for row in found] == [bits(value)] * 4


@pytest.mark.parametrize("value", [0, -1, 2**53, -(2**53), 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_an_integer_of_64_bits_keeps_every_digit(recorded, value):
    found = recorded({"a": value, "b": 0.5}, {"a": value, "b": 0.5})
    assert [row["a"] for row in found] == [value, value]
    assert [row["b"] for row in found] == [0.5, 0.5]


def test_an_integer_of_more_than_64_bits_is_kept_as_a_float_and_said(recorded):
    with pytest.warns(RecorderWarning, match="does not fit 64 bits"):
        found = recorded({"a": 2**70, "b": -(10**400)})
    assert found == [{"a": 2.0**70, "b": float("-inf")}]


def test_a_metric_may_grow_from_small_to_large_integers_and_back(recorded):
    values = [1, 2**53 + 1, 2, 2**60 + 3, 0.5]
    found = recorded(*({"n": value} for value in values))
    assert sorted(row["n"] for row in found) == sorted(values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        (False, 0.0),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float16(0.1), float(np.float16(0.1))),
        (np.int8(-3), -3),
        (np.uint64(2**63 - 1), 2**63 - 1),
        (np.bool_(True), 1.0),
        (np.array(2.5), 2.5),
        (np.array([[7]]), 7),
        (np.longdouble(0.5), 0.5),
        (fractions.Fraction(1, 8), 0.125),
        (decimal.Decimal("0.25"), 0.25),
        (torch.tensor(0.1), float(np.float32(0.1))),
        (torch.tensor(0.1, dtype=torch.float64), 0.1),
        (torch.tensor([0.5], requires_grad=True), 0.5),
        (torch.tensor([[[3]]]), 3),
        (torch.tensor(True), 1.0),
        (torch.tensor(2**60 + 1), 2**60 + 1),
        (torch.tensor(1.1, dtype=torch.bfloat16), float(torch.tensor(1.1, dtype=torch.bfloat16))),
        (torch.tensor(1.1, dtype=torch.float16), float(torch.tensor(1.1, dtype=torch.float16))),
        (torch.tensor(2.0, dtype=torch.float8_e4m3fn), 2.0),
        (torch.nn.Parameter(torch.tensor(4.0)), 4.0),
        (torch.tensor(3.0, requires_grad=True) * 2, 6.0),
    ],
)
def test_one_number_of_any_kind_is_kept_exactly(recorded, value, expected):
    found = recorded({"a": value}, {"a": value}, {"a": value, "plain": 1.0})
    assert [row["a"] for row in found] == [expected] * 3


def test_a_tensor_of_the_graph_is_not_kept_alive(record):
    import gc
    import weakref

    recorder = record()
    loss = (torch.ones(4, requires_grad=True) * 2).sum()
    alive = weakref.ref(loss)
    recorder.log({"loss": loss})
    del loss
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("0.5", r"'0\.5', a str"),
        (b"1", "a bytes"),
        (None, "None, a NoneType"),
        (1j, "a complex"),
        ([1.0], "a list"),
        ({"a": 1}, "a dict"),
        (object, "a type"),
        (np.zeros((2, 2)), r"ndarray of shape \(2, 2\) and type float64: log one number of it"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.array("text"), "type <U4"),
        (np.datetime64("2026-01-01"), "datetime64"),
        (np.complex64(1), "complex64"),
        (torch.zeros(2, 3), r"Tensor of shape \(2, 3\) and type torch.float32: log one number of it, such as its mean"),
        (torch.zeros(0), r"shape \(0,\)"),
        (torch.tensor(1j), "complex64"),
        (torch.tensor(1.0, device="meta"), r"shape \(\)"),
        (torch.ones(1).to_sparse(), r"shape \(1,\)"),
    ],
)
def test_what_is_no_number_is_refused_alone_with_what_was_found(record, rows_of, summary_of, value, found):
    recorder = record()
    with pytest.warns(RecorderWarning, match=rf"metric 'odd' was left out: expected one real number, found .*{found}"):
        recorder.log({"loss": 0.5, "odd": value}, step=3)
    recorder.close()
    assert rows_of(recorder.path) == [(1, 0, 3, {"loss": 0.5})]
    assert summary_of(recorder)["refused_values"] == 1


def test_a_value_whose_conversions_all_fail_harms_nothing(record, rows_of):
    class Hostile:
        def __float__(self):
            raise MemoryError("no")

        __index__ = __int__ = __repr__ = __str__ = __radd__ = __float__

    recorder = record()
    recorder.log({"loss": 0.5})
    with pytest.warns(RecorderWarning, match="<Hostile>"):
        recorder.log({"loss": Hostile()})
    recorder.log({"loss": 0.25})
    recorder.close()
    assert [row for _, _, _, row in rows_of(recorder.path)] == [{"loss": 0.5}, {"loss": 0.25}]


def test_a_wrong_value_is_said_once_and_counted_every_time(record, summary_of):
    recorder = record()
    with pytest.warns(RecorderWarning) as said:
        [recorder.log({"text": "x"}) for _ in range(100)]
    recorder.close()
    assert len(said) == 1
    assert summary_of(recorder)["refused_values"] == 100


@pytest.mark.parametrize("values", [None, 0.5, [("a", 1)], "loss", {"a"}])
def test_what_is_no_mapping_is_a_usage_error(record, values):
    from explorer import UsageError

    with pytest.raises(UsageError, match="expects a mapping"):
        record().log(values)


def test_an_empty_row_leaves_no_row(recorded):
    assert recorded({}, {"a": 1.0}, {}) == [{"a": 1.0}]


def test_a_dict_that_is_used_again_was_read_at_once(record, rows_of):
    recorder, row = record(), {"a": 0.0, "b": 0.0}
    for step in range(100):
        row["a"], row["b"] = float(step), -float(step)
        recorder.log(row, step=step)
    recorder.close()
    assert rows_of(recorder.path) == [(1, 0, n, {"a": n, "b": -n}) for n in range(100)]


def test_the_same_names_in_another_order_keep_their_values(recorded):
    found = recorded({"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}, {"a": 5.0, "b": 6.0}, {"b": 8.0, "a": 7.0})
    assert found == [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}, {"a": 7, "b": 8}]
