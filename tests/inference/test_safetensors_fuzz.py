"""Headers of safetensors files changed at random: tensors as the header says, or an error that names the file."""

import json
import random
import struct
import time

import pytest
import torch

from explorer.errors import DamagedFile
from explorer.inference.safetensors_file import SafetensorsFile
from tests.mutations import mutated_bytes, mutated_text

HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
    "c": {"dtype": "BOOL", "shape": [0, 4], "data_offsets": [26, 26]},
}
BODY = bytes(range(26))


def test_a_changed_header_gives_tensors_of_the_file_or_is_refused_by_its_file(tmp_path):
    chance = random.Random(31)
    path = tmp_path / "x.safetensors"
    whole, told = 0, []
    began_s = time.process_time()
    for number in range(1_500):
        text = mutated_text(HEADER, chance) if number % 3 else mutated_bytes(json.dumps(HEADER).encode(), chance)
        path.write_bytes(struct.pack("<Q", len(text)) + text + BODY)
        try:
            file = SafetensorsFile(path)
            values = [file.read(name) for name in file.entries]
            whole += 1
        except DamagedFile as error:
            told.append(error.path)
            continue
        assert all(isinstance(value, torch.Tensor) for value in values)
        assert sum(value.nbytes for value in values) <= len(BODY)
    assert whole > 50
    assert len(told) > 500
    assert set(told) == {path}
    assert time.process_time() - began_s < 20


@pytest.mark.parametrize("shape", [[2**70, 0], [2**40, 2**40, 0], [1] * 65, [6.0], ["6"], "6", None, [-6], [True] * 2])
def test_sizes_that_no_array_has_are_refused(tmp_path, shape):
    text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(DamagedFile, match="impossible things of the tensor 'a'"):
        SafetensorsFile(path)
