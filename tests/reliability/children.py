"""A process that has the recorder loaded and forks one child for each line on its standard input.

A line is JSON: {"job": <name of a function below>, ...its arguments}. The child's process id is printed. Forking costs
milliseconds where a new interpreter with its imports costs half a second.
"""

import json
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

import explorer.recording.recorder as recorder_module
from explorer import Recorder
from explorer.storage.disk import Disk
from explorer.storage.tensors import TensorRow, TensorSegments

MAX_LIFE_S = 300


def log_for_ever(root, run_id, ack, pace_s=0.0, buffered=False, first=0, resume="allow"):
    """Log rows of step n = first, first + 1, ...; before the next call the file `ack` holds the last step returned."""
    if buffered:
        recorder_module.can_map = lambda folder: False
    with open(ack, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 8)
    with Recorder("kill", root=root, run_id=run_id, resume=resume, system_every_s=0.2, quiet=True) as rec:
        step = first
        while True:
            rec.log({"x": float(step), "y": -0.5 * step}, step=step)
            struct.pack_into("<q", memory, 0, step + 1)
            step += 1
            if pace_s:
                time.sleep(pace_s)


def watch_for_ever(root, run_id, ack, pace_s=0.0):
    """Write statistics of step n = 0, 1, ... of three tensors; `ack` holds the last step whose flush has returned."""
    with open(ack, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 8)
    segments = TensorSegments(Path(root) / run_id, 1, 0, Disk())
    bins, counts = np.arange(-100, 100, dtype=np.int16), np.arange(1, 201)
    step = 0
    while True:
        numbers = dict.fromkeys(("n", "zeros", "nans", "infs", "underflow"), step)
        moments = dict.fromkeys(("mean", "std", "min", "max", "norm"), float(step))
        for name in "abc":
            row = TensorRow(step, step, name, "param", **numbers, **moments, m=3, bins=bins, counts=counts + step)
            segments.add([row])
        segments.flush()
        struct.pack_into("<q", memory, 0, step + 1)
        step += 1
        time.sleep(pace_s)


def end_with(root, run_id, how, rows=100):
    """Log some rows and end as told."""
    if how == "sigterm with a handler":
        signal.signal(signal.SIGTERM, lambda *_: (os.mkdir(f"{root}/handler-was-called"), sys.exit(7)))
    with Recorder("end", root=root, run_id=run_id, system_every_s=None, quiet=True) as rec:
        for step in range(rows):
            rec.log({"x": float(step)}, step=step)
        if how == "exception":
            raise ValueError("the loss is NaN \udc80 \0")
        if how == "sys.exit":
            sys.exit(3)
        if how == "sys.exit(0)":
            sys.exit(0)
        if how in ("os._exit", "segfault"):
            time.sleep(0.3)  # until there is a summary
        if how == "os._exit":
            os._exit(5)
        if how == "KeyboardInterrupt":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
            signal.raise_signal(signal.SIGINT)
        if how == "segfault":
            signal.raise_signal(signal.SIGSEGV)
        if how.startswith("sigterm"):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)


def end_without_with(root, run_id, how, rows=100):
    """As `end_with`, but nobody closes the recorder."""
    rec = Recorder("end", root=root, run_id=run_id, system_every_s=None, quiet=True)
    for step in range(rows):
        rec.log({"x": float(step)}, step=step)
    if how == "exception":
        raise ValueError("nobody closed it")


def main():
    """Serve until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        job = globals()[order.pop("job")]
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.alarm(MAX_LIFE_S)  # nobody is left to kill it when the tests themselves are killed
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            return job(**order)
        print(child, flush=True)
    return None


if __name__ == "__main__":
    main()
