"""JSON files are whole, strict, small and never trusted."""

import json
import math
import os

import pytest

from explorer.errors import DamagedFile, UnsupportedFormat
from explorer.storage import records
from explorer.storage.disk import Disk


@pytest.fixture
def path(tmp_path):
    return tmp_path / "summary.json"


def test_what_was_written_comes_back(path):
    value = {"name": "ünïcode 🔥", "n": 2**53 + 1, "deep": {"list": [1, None, True, 0.1]}}
    records.write_json(path, value, disk=Disk())
    assert records.read_json(path) == value


def test_writing_leaves_nothing_else_behind(path):
    records.write_json(path, {"a": 1}, disk=Disk())
    records.write_json(path, {"a": 2}, disk=Disk())
    assert os.listdir(path.parent) == ["summary.json"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.1, -0.0, 5, 2**60, None])
def test_a_number_of_any_kind_survives_strict_json(number):
    back = records.decode_number(json.loads(json.dumps(records.encode_number(number), allow_nan=False)))
    assert repr(back) == repr(number)


@pytest.mark.parametrize("value", ["inf", "1.0", True, [], {}, "nan"])
def test_what_is_no_number_is_decoded_to_none(value):
    assert records.decode_number(value) is None


def test_nan_is_refused_where_it_is_written(path):
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(path, {"a": math.nan}, disk=Disk())
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": Infinity}', "Infinity is not JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[1, 2]", "holds a JSON list"),
        (b"3", "holds a JSON int"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"a":' * 200_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b"\0" * 4_096, "not valid JSON"),
    ],
)
def test_what_is_no_json_object_of_ours_is_named_with_its_reason(path, content, reason):
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=reason) as caught:
        records.read_json(path)
    assert caught.value.path == path


def test_a_file_that_is_too_large_is_not_read(path):
    with open(path, "wb") as file:
        file.truncate(10**12)  # sparse: a terabyte that takes no space
    with pytest.raises(DamagedFile, match="at most"):
        records.read_json(path)


def test_a_pipe_does_not_make_the_reader_wait(path):
    os.mkfifo(path)
    with pytest.raises(DamagedFile, match="not a regular file"):
        records.read_json(path)


def test_a_folder_in_place_of_a_file_is_named(path):
    path.mkdir()
    with pytest.raises(DamagedFile, match="not a regular file") as caught:
        records.read_json(path)
    assert caught.value.path == path


def test_a_link_is_not_followed(path):
    target = path.with_name("target.json")
    target.write_text("{}")
    path.symlink_to(target)
    with pytest.raises(DamagedFile, match="cannot be opened"):
        records.read_json(path)


def test_a_missing_file_is_missing_not_damaged(path):
    with pytest.raises(FileNotFoundError):
        records.read_json(path)


def test_a_newer_format_is_refused_with_what_to_do(path):
    records.write_json(path, {"format": 2}, disk=Disk())
    with pytest.raises(UnsupportedFormat, match=r"format 2.*up to 1.*Upgrade"):
        records.read_record(path)


@pytest.mark.parametrize("version", [None, True, 0, -1, "1", 1.0, [1], "\udc80" * 500])
def test_a_record_that_names_no_version_is_damaged(path, version):
    path.write_text(json.dumps({"format": version}))
    with pytest.raises(DamagedFile, match="format version"):
        records.read_record(path)


@pytest.mark.parametrize("text", [b'{"a\\ud800": ["\\uDFFF"]}', b'{"a\xed\xa0\x80": ["\xed\xbf\xbf"]}'])
def test_half_a_character_is_replaced_wherever_it_stands(tmp_path, text):
    path = tmp_path / "half.json"
    path.write_bytes(text)
    found = records.read_json(path)
    ((name, (value,)),) = found.items()
    assert (name.rstrip("\ufffd"), value.strip("\ufffd")) == ("a", "")
    path.write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert records.read_json(path) == {"a": "\N{GRINNING FACE}"}
