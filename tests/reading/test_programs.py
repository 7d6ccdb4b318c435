import pytest

from explorer.errors import DamagedFile
from explorer.reading.programs import program_problems, read_program_of, read_recorded_program
from explorer.storage.disk import Disk
from explorer.storage.program_file import write_program


def put(run_dir, attempt, **changes):
    path = run_dir / "program" / f"{attempt:04d}-00000.json.gz"
    path.parent.mkdir(exist_ok=True)
    found = {
        "format": 1, "route": "export", "torch": "2.13.0", "step": attempt, "graph": {"outputs": [{"node": "x"}]},
        "inputs": [{"name": "x", "path": "args[0]", "dtype": "float32", "shape": [2]}], "output_paths": [""],
    }  # fmt: skip
    write_program(path, found | changes, disk=Disk())
    return path


def test_a_run_without_a_program_has_none(tmp_path):
    assert read_program_of(tmp_path) is None
    assert read_recorded_program(tmp_path) is None
    assert program_problems(tmp_path) == ()


def test_the_newest_program_that_can_be_read_counts_and_the_others_are_named(tmp_path):
    put(tmp_path, 1)
    put(tmp_path, 2)
    put(tmp_path, 3, route="none", why=[["tape", "no luck"]])
    put(tmp_path, 4).write_bytes(b"torn")
    assert read_program_of(tmp_path).step == 2
    torn, failed = program_problems(tmp_path)
    assert torn.startswith("program/0004-00000.json.gz: ")
    assert "tape: no luck" in failed


def test_foreign_names_and_links_are_left_out(tmp_path):
    path = put(tmp_path, 1)
    path.with_name("0002-00000.json.gz").symlink_to(path)
    path.with_name("notes.json.gz").write_bytes(path.read_bytes())
    assert read_program_of(tmp_path).step == 1


def test_missing_samples_are_said_and_missing_constants_are_an_error(tmp_path):
    put(tmp_path, 1)
    found = read_recorded_program(tmp_path)
    assert found.samples == ()
    assert found.problems == ("samples/0001-00000.parquet: is missing",)
    weights = {"c": {"name": "c", "role": "constant", "dtype": "float32", "shape": [1]}}
    put(tmp_path, 2, weights=weights)
    with pytest.raises(DamagedFile, match=r"constants\.parquet"):
        read_recorded_program(tmp_path)
