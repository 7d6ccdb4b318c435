"""A safetensors file of the user's own, known again by its header."""

import hashlib
import json
import os
import struct

import pytest

from explorer.recording.snapshots.references import describe_reference


def write(path, header, values=b"\0" * 8, length=None):
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data) if length is None else length) + data + values)
    return data


def test_a_file_is_described_by_its_place_size_time_and_header(tmp_path):
    path = tmp_path / "model.safetensors"
    header = write(path, {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    found = os.stat(path)
    assert describe_reference(path) == {
        "path": str(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "header_sha256": hashlib.sha256(header).hexdigest(),
    }


def test_a_file_of_the_real_library_is_described(tmp_path):
    torch_files = pytest.importorskip("safetensors.torch")
    import torch

    torch_files.save_file({"w": torch.ones(3)}, tmp_path / "real.safetensors")
    assert describe_reference(tmp_path / "real.safetensors")["size"] == (tmp_path / "real.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "would have 0 bytes"),
        (b"\1\0\0", "would have 0 bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "would have 9,223,372,036,854,775,808 bytes"),
        (struct.pack("<Q", 3) + b"{}", "would have 3 bytes"),
        (struct.pack("<Q", 2) + b"{x", "is not JSON"),
        (struct.pack("<Q", 2) + b"[]", "is no JSON object"),
        (struct.pack("<Q", 90_000) + b"[" * 90_000, "is not JSON"),
    ],
)
def test_another_file_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"other.safetensors.*{message}"):
        describe_reference(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        describe_reference(tmp_path / "none.safetensors")
