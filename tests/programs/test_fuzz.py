"""Recorded programs with something changed in them: a program, or an error that names the file. And when they run:
a value or an error of ours, with nothing called that is not on the list."""

import copy
import gzip
import json
import random
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from explorer.errors import ExplorerError, FileError, NotCaptured, ProgramError
from explorer.inference.sandbox.session import Sandbox
from explorer.programs import operators
from explorer.programs.interpreter import Interpreter
from explorer.programs.sizes import FUNCTIONS
from explorer.recording.program.capture import capture
from explorer.storage.program_file import MAX_VALUES, read_program
from tests.mutations import mutated_text
from tests.program_models import make

FAMILIES = ("cnn", "lstm", "gpt", "cond", "packed")

OTHERS = ("os.system", "builtins.eval", "aten.from_file.default", "aten.set_.source_Storage", "aten.linear.out")


@pytest.fixture(scope="module")
def recorded():
    """(document, constants, weights, arguments) of small models of several kinds."""
    found = []
    for name in FAMILIES:
        model, (args, kwargs), _ = make(name)
        made = capture(model, args, kwargs)
        found.append((json.loads(json.dumps(made.document)), made.constants, dict(model.eval().state_dict()), args))
    return found


def write(path: Path, text: bytes) -> Path:
    path.write_bytes(gzip.compress(text, 1))
    return path


def test_a_changed_program_is_read_or_refused_by_its_file(recorded, tmp_path):
    chance = random.Random(20_260)
    whole = not_captured = 0
    told = []
    slowest_s = 0.0
    for number in range(500):
        document, *_ = recorded[number % len(recorded)]
        path = write(tmp_path / "0001-00000.json.gz", mutated_text(document, chance))
        began_s = time.process_time()
        try:
            read_program(path)
            whole += 1
        except FileError as error:
            told.append((error.path, error.reason))
        except NotCaptured:
            not_captured += 1
        slowest_s = max(slowest_s, time.process_time() - began_s)
    assert whole > 20
    assert len(told) > 200
    assert all(named == path and len(reason) < 2_500 for named, reason in told)
    assert slowest_s < 1


def test_what_a_changed_program_calls_is_looked_up_in_the_list_alone(recorded, tmp_path, monkeypatch):
    allowed, asked = set(), set()
    resolve = operators.resolve

    def watched(name, *, in_place=False):
        asked.add(name)
        found = resolve(name, in_place=in_place)
        allowed.add(name)
        return found

    monkeypatch.setattr("explorer.programs.compiling.resolve", watched)
    chance = random.Random(4_711)
    for number in range(300):
        document, constants, *_ = recorded[number % len(recorded)]
        if number % 2:
            document = copy.deepcopy(document)
            chance.choice(document["graph"]["nodes"])["op"] = chance.choice(OTHERS)
        path = write(tmp_path / "0001-00000.json.gz", mutated_text(document, chance))
        with suppress(FileError, ProgramError):
            Interpreter(read_program(path), constants)
    assert len(allowed) > 20
    assert {name for name in OTHERS if name not in allowed} == {*OTHERS} <= asked
    assert all(name in FUNCTIONS or name.startswith("aten.") for name in allowed)


def test_a_changed_program_that_runs_gives_values_or_an_error_of_ours(recorded, tmp_path):
    chance = random.Random(1_001)
    ran, told = 0, []
    with Sandbox(memory_bytes=2**30, time_limit_s=20) as box:
        for number in range(250):
            document, constants, weights, inputs = recorded[number % len(recorded)]
            text = mutated_text(document, chance)
            try:
                read_program(write(tmp_path / "0001-00000.json.gz", text))
            except (FileError, NotCaptured):
                continue
            paths = [found["path"] for found in document["inputs"]]
            model = {
                "program": json.loads(text),
                "constants": {name: value.numpy() for name, value in constants.items()},
                "weights": {name: value.numpy() for name, value in weights.items()},
                "probe": {path: value.numpy() for path, value in zip(paths, inputs, strict=False)},
            }
            box.add_model("changed", lambda model=model: model)
            try:
                box.request("run", {"key": "changed"})
                ran += 1
            except ExplorerError as error:
                told.append(str(error))
    assert ran > 10
    assert len(told) > 10
    # An error of PyTorch's or Python's without words of ours, or a crash.
    assert [text for text in told if "failed with" in text or "child process ended" in text] == []


@pytest.mark.parametrize("part", ["[]", "{}", '{"path":"","type":""}', '["",""]', "7"], ids=len)
def test_a_small_file_cannot_become_gigabytes_of_objects(tmp_path, part):
    """60 kB of gzip once became 3 GB, and took twenty seconds, in the process of the page."""
    text = '{"format":1,"modules":[' + ",".join([part] * (MAX_VALUES + 1)) + "]}"
    path = write(tmp_path / "0001-00000.json.gz", text.encode())
    del text
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    began_s = time.process_time()
    with pytest.raises(FileError, match="more than 2,000,000 values"):
        read_program(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began_s < 2
    assert peak < 150 * 2**20
