"""SIGKILL while snapshots are written and deleted: what has its final name is whole and true."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer import Recorder
from explorer.storage import process

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def start():
    """`start(**arguments)` starts a child of `killed.py` and gives its process id."""
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("killed.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def run(**arguments):
        server.stdin.write(json.dumps(arguments) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    yield run
    server.communicate()


def kill_after_first(child, files, delay_s, wait_for):
    """Kill it a while after its first snapshot, one of these files, is there."""
    wait_for(lambda: next(iter(files()), None))
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: process.process_start(child) is None)


@pytest.mark.parametrize("size", [64, 2_000])
def test_a_kill_leaves_whole_files_with_the_values_of_their_step(start, tmp_path, snapshot_files, wait_for, size):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    frozen = {}
    for attempt in range(1, 5):
        child = start(root=str(tmp_path), run_id="killed", size=size)
        name = f"{attempt:04d}-00000.parquet"
        mine = partial(tmp_path.glob, f"killed/params/*/{name}")
        kill_after_first(child, mine, chance.uniform(0, 0.7), wait_for)
        files = snapshot_files(tmp_path / "killed", name)
        shown = {step: file for step, file in files.items() if not file[0].get("dropped")}
        assert 1 <= len(shown) <= 6  # the first, the last three, one that was being deleted, one that was just written
        for step, (meta, values) in shown.items():
            assert set(np.frombuffer(values["0.weight"], np.float32)) == {np.float32(step)}
            source = meta["index"]["1.weight"].get("stored_step")
            held = values["1.weight"] if source is None else files[source][1]["1.weight"]
            assert frozen.setdefault(attempt, held) == held


def test_what_a_kill_left_half_written_goes_when_the_run_is_resumed(start, tmp_path, wait_for):
    run_dir = tmp_path / "killed"
    child = start(root=str(tmp_path), run_id="killed", size=64)
    kill_after_first(child, partial(run_dir.glob, "params/*/*.parquet"), 0.1, wait_for)
    half = next(run_dir.glob("params/*/0001-00000.parquet")).parent / ".0001-00000.parquet.123.tmp"
    half.write_bytes(b"half")
    with Recorder("again", root=tmp_path, run_id="killed", resume="must", system_every_s=None, quiet=True) as rec:
        rec.snapshot(torch.nn.Linear(2, 2), 10**9)
    assert not half.exists()
    assert not list(run_dir.glob("params/*/.*"))
