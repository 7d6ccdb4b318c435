"""Messages come back as they were; those of a stranger are refused before anything is made of them."""

import io
import json
import math
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from explorer.errors import SandboxError
from explorer.inference.sandbox.wire import Message, receive, send

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text()
    | st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text().filter(lambda k: k[:1] != "$"), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one, other):
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other and type(one) is type(other)


def there_and_back(value):
    stream = io.BytesIO()
    send(stream, Message("run", value))
    stream.seek(0)
    found = receive(stream)
    assert receive(stream) is None
    return found


@settings(deadline=None)
@given(plain)
def test_a_message_comes_back_as_it_was(value):
    found = there_and_back(value)
    assert found.kind == "run"
    assert same(value, found.value)


def test_a_table_comes_back_as_it_was():
    table = pd.DataFrame({"node": ["a", "b"], "relative_l2": [0.5, np.inf], "same": [True, False], "n": [1, 2]})
    pd.testing.assert_frame_equal(there_and_back(table).value, table, check_dtype=False)


def test_an_array_that_lies_apart_in_memory_is_sent_as_it_reads():
    array = np.arange(12.0).reshape(3, 4)[:, ::2].T
    assert np.array_equal(there_and_back(array).value, array)


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {"$array": 0}, np.array(["text"]), np.array([1j]), b"bytes"], ids=range(6)
)
def test_what_is_not_plain_cannot_be_sent(value):
    with pytest.raises(SandboxError):
        there_and_back(value)


def frame(header, body=b"", *, magic=b"XPS1", header_size=None, body_size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    sizes = (len(text) if header_size is None else header_size, len(body) if body_size is None else body_size)
    return struct.pack("<4sQQ", magic, *sizes) + text + body


GOOD = {"kind": "run", "value": {"$array": 0}, "arrays": [["float32", [2]]]}
BODY = b"\0" * 8


@pytest.mark.parametrize(
    "data",
    [
        b"XPS1",
        frame(GOOD, BODY, magic=b"PKL1"),
        frame(GOOD, BODY, header_size=2**40),
        frame(GOOD, BODY, body_size=2**50),
        frame(GOOD, BODY)[:-1],
        frame(GOOD, BODY)[:40],
        frame(GOOD, BODY + b"\0"),
        frame(b"\x80\x04\x95."),
        frame(b"[" * 100_000),
        frame([]),
        frame(b'{"kind": NaN, "value": null, "arrays": []}'),
        frame({"value": 1, "arrays": []}),
        frame({"kind": ["run"], "value": 1, "arrays": []}),
        frame({"kind": "run", "value": 1}),
        frame({**GOOD, "arrays": [["object", [1]]]}, BODY),
        frame({**GOOD, "arrays": [["<U8", [1]]]}, BODY),
        frame({**GOOD, "arrays": [["float32", [-2]]]}, BODY),
        frame({**GOOD, "arrays": [["float32", [True, 2]]]}, BODY),
        frame({**GOOD, "arrays": [["float32", [2**62, 4]]]}, BODY),
        frame({**GOOD, "arrays": [["float32", [1] * 60]]}, BODY),
        frame({**GOOD, "arrays": [[["float32"], [2]]]}, BODY),
        frame({**GOOD, "value": {"$array": 1}}, BODY),
        frame({**GOOD, "value": {"$array": -1}}, BODY),
        frame({**GOOD, "value": {"$array": True}}, BODY),
        frame({**GOOD, "value": {"$float": "1e5"}}, BODY),
        frame({**GOOD, "value": {"$float": ["nan"]}}, BODY),
        frame({**GOOD, "value": {"$import": "os"}}, BODY),
        frame({**GOOD, "value": {"$array": 0, "x": 1}}, BODY),
        frame({**GOOD, "value": {"$table": {"a": [1], "b": [1, 2]}}}, BODY),
        frame({**GOOD, "value": {"$table": {"a": 1}}}, BODY),
        frame({**GOOD, "value": json.loads("[" * 60 + "]" * 60)}, BODY),
    ],
    ids=range(31),
)
def test_a_hostile_message_is_refused(data):
    with pytest.raises(SandboxError):
        receive(io.BytesIO(data))


def test_neither_side_hands_over_more_than_it_may():
    stream = io.BytesIO()
    message = Message("answer", {"values": np.zeros(1_000)})
    with pytest.raises(SandboxError, match="at most 7,999 are taken: ask for fewer"):
        send(stream, message, 7_999)
    assert stream.getvalue() == b""
    send(stream, message, 8_000)
    with pytest.raises(SandboxError, match="too large"):
        receive(io.BytesIO(stream.getvalue()), 7_999)
    assert receive(io.BytesIO(stream.getvalue()), 8_000).value["values"].shape == (1_000,)
