"""SIGKILL while the last segment of `tensors/` is rewritten: what a flush has returned for is there, whole."""

import os
import random
import signal
import struct
import time

import numpy as np
import pytest

from explorer.storage import layout, process
from explorer.storage.tensor_files import open_tensor_segment
from explorer.storage.tensor_rows import COLUMNS


def read_rows(run_dir):
    """[(name, step)] of all segments; every checksum is compared, and every value is the one of its step."""
    rows = []
    for file in layout.list_segments(run_dir, layout.TENSORS):
        with open_tensor_segment(file.path) as segment:
            segment.check()
            for row in segment.read(COLUMNS).to_pylist():
                step = row["step"]
                assert row["norm"] == row["n"] == step
                assert row["counts"] == np.arange(1 + step, 201 + step).tolist()
                rows.append((row["name"], step))
    return rows


def kill_once(fork, chance, root, run_id, pace_s):
    ack = root / "ack"
    ack.write_bytes(bytes(8))
    child = fork("watch_for_ever", root=str(root), run_id=run_id, ack=str(ack), pace_s=pace_s)
    until = time.monotonic() + 20
    while ack.read_bytes() == bytes(8) and time.monotonic() < until:
        time.sleep(0.002)
    until = time.monotonic() + chance.uniform(0, 0.5)
    while time.monotonic() < until:
        for file in layout.list_segments(root / run_id, layout.TENSORS):
            with open_tensor_segment(file.path) as segment:  # torn or replaced in between, this would raise
                segment.read(["step", "counts"])
    os.kill(child, signal.SIGKILL)
    until = time.monotonic() + 10
    while process.process_start(child) is not None and time.monotonic() < until:
        time.sleep(0.002)
    return struct.unpack("<q", ack.read_bytes())[0]


def check_kills(fork, root, times):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for number in range(times):
        run_id = f"run-{number}"
        acked = kill_once(fork, chance, root, run_id, chance.choice([0.0, 0.01]))
        rows = read_rows(root / run_id)
        assert len(set(rows)) == len(rows)
        for name in "abc":
            steps = sorted(step for each, step in rows if each == name)
            assert steps == list(range(len(steps)))
            assert len(steps) >= acked


def test_ten_kills_lose_no_row_that_was_flushed(fork, tmp_path):
    check_kills(fork, tmp_path, 10)


@pytest.mark.slow
def test_a_hundred_kills_lose_no_row_that_was_flushed(fork, tmp_path):
    check_kills(fork, tmp_path, 100)
