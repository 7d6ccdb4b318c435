"""Runs to be damaged."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from explorer import Recorder

CHILDREN = Path(__file__).with_name("children.py")


@pytest.fixture
def record_run(tmp_path):
    """`record_run(rows=..., disk=...)` is the folder of a finished run."""

    def run(rows=50, run_id=None, **options):
        root = options.pop("root", tmp_path)
        with Recorder("reliable", root=root, run_id=run_id, system_every_s=None, quiet=True, **options) as recorder:
            for step in range(rows):
                recorder.log({"loss": 1 / (1 + step), "n": step}, step=step)
        return recorder.path

    return run


@pytest.fixture
def chance():
    """Random numbers whose seed is printed when the test fails."""
    seed = random.randrange(2**32)
    print("seed", seed)
    return random.Random(seed)


@pytest.fixture(scope="package")
def fork():
    """`fork(job, **arguments)` starts a child and gives its process id."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "default"}
    server = subprocess.Popen(
        [sys.executable, str(CHILDREN)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip

    def start(job, **arguments):
        server.stdin.write(json.dumps({"job": job} | arguments) + "\n")
        server.stdin.flush()
        children.append(int(server.stdout.readline()))
        return children[-1]

    children = []
    yield start
    for child in children:  # one that a failing test has left behind
        if b"children.py" in _command(child):
            os.kill(child, signal.SIGKILL)
    server.communicate()


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
