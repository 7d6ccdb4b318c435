"""A real limit on what may be written: the training ends as if there were none, and what is missing is counted."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

TRAINING = """
import resource, sys, warnings
from explorer import Recorder, RecorderWarning
warnings.simplefilter("ignore", RecorderWarning)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))  # the first journal fits, the next ones do not
with Recorder("full", root=sys.argv[1], run_id="full", system_every_s=None, quiet=True) as rec:
    for step in range(60_000):
        rec.log({"a": float(step), "b": 0.5}, step=step)
print("trained", rec._stream.dropped_rows)
"""


def test_a_disk_that_takes_no_more_never_stops_the_training_and_every_lost_row_is_counted(tmp_path, rows_of):
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    word, dropped = done.stdout.split()
    assert word == "trained"
    steps = [step for *_, step, _ in rows_of(tmp_path / "full")]
    assert len(steps) == len(set(steps))
    assert len(steps) + int(dropped) == 60_000
    assert int(dropped) > 0
    summary = json.loads((tmp_path / "full" / "summary" / "0001-00000.json").read_text())
    assert summary["state"] == "finished"
    assert summary["dropped_rows"] == int(dropped)
    assert any("File too large" in message for message in summary["warnings"])
