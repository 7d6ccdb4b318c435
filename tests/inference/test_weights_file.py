import os

import pytest

from explorer.errors import UsageError
from explorer.inference.weights_file import WeightsFile, local_path


def test_a_whole_path_and_one_with_a_home_folder_are_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert local_path(' "/data/a.pt" ') == "/data/a.pt" or os.name == "nt"
    assert local_path("~/run/last.safetensors") == str(tmp_path / "run" / "last.safetensors")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://host/x.pt", "this machine only"),
        ("s3://bucket/x.pt?endpoint_override=127.0.0.1:9", "this machine only"),
        ("\\\\host\\share\\x.pt", "this machine only"),
        ("//host/share/x.pt", "this machine only"),
        ("/x\0.pt", "this machine only"),
        ("model.pt", "whole path"),
        ("../model.pt", "whole path"),
        ("", "whole path"),
        ("/etc/passwd", "ends in .safetensors"),
        ("/data/model.pt2", "ends in .safetensors"),
        ("~nobody-like-that/x.pt", "home folder"),
    ],
)
def test_what_is_no_local_file_of_weights_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        local_path(text)


def test_a_file_is_another_one_after_it_was_written_anew(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"1")
    file = WeightsFile(str(path))
    before = file.identity
    path.write_bytes(b"22")
    assert file.identity != before
    assert file.name == "w.pt"
    assert WeightsFile(str(path), title="mine.pt").name == "mine.pt"
