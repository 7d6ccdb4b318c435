"""A process counts as gone only when that is certain."""

import json
import os
import subprocess
import sys

import pytest

from explorer.storage import process


def test_this_process_is_not_gone():
    assert not process.is_gone(process.identify())


def test_a_process_that_ended_is_gone():
    code = "import json; from explorer.storage import process; print(json.dumps(process.identify()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=os.getcwd())

    assert process.is_gone(json.loads(done.stdout))


def test_another_process_with_the_same_id_does_not_keep_it_alive():
    assert process.is_gone(process.identify() | {"process_start": 0.01})


def test_a_process_of_an_earlier_start_of_the_machine_is_gone():
    assert process.is_gone(process.identify() | {"boot_id": "00000000-0000-0000-0000-000000000000"})


def test_a_process_on_another_machine_cannot_be_judged_from_here():
    assert not process.is_gone(process.identify() | {"host": "elsewhere", "pid": 999_999_999})


@pytest.mark.parametrize("namespace", [1, None])
def test_a_process_in_another_pid_namespace_cannot_be_judged_from_here(namespace):
    record = process.identify() | {"pid": 999_999_999, "pid_namespace": namespace}
    assert not process.is_visible(record)
    assert not process.is_gone(record)
    assert process.is_gone(record | {"pid_namespace": process.pid_namespace()})


@pytest.mark.parametrize("record", [{}, {"host": None}, {"pid": "1"}])
def test_a_record_that_says_too_little_is_not_judged(record):
    assert not process.is_gone(record)
