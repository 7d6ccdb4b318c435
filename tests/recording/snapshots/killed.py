"""A process that has torch and the recorder loaded and forks one child for each line on its standard input.

A line is JSON: {"root": ..., "run_id": ..., "size": ...}. The child saves a model again and again until it is killed.
"""

import json
import os
import signal
import sys

import torch

from explorer import Recorder


def save_for_ever(root, run_id, size):
    """At step n every value of the first layer is n; the second never changes. Every other snapshot is deleted."""
    model = torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.Linear(64, 64))
    with Recorder("kill", root=root, run_id=run_id, resume="allow", system_every_s=None, quiet=True) as rec:
        first = 0 if rec.last_step is None else rec.last_step + 1
        automatic = rec.snapshots(model, every=1, keep_last=3)
        for step in range(first, 10**9):
            with torch.no_grad():
                for parameter in model[0].parameters():
                    parameter.fill_(float(step))
            automatic.step(step)
            rec.log({"step": step}, step=step)


def main():
    """Serve until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # nobody is left to kill it when the tests themselves are killed
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it says that snapshots are skipped
            save_for_ever(**json.loads(line))
        print(child, flush=True)


if __name__ == "__main__":
    main()
