"""A training that is killed half-way and goes on from its last checkpoint, as on a machine that loses power."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from explorer.demo.training import Settings, train

NOTES = "Killed with SIGKILL half-way, then resumed from its last checkpoint in the same run."
TAGS = ("resumed",)


def train_killed_and_resumed(
    name: str, settings: Settings, root: str | Path, on_epoch: Callable[[int, float | None, str], None]
) -> str:
    """Start a training in a process of its own, kill that half-way, and finish the run here.

    Returns:
        The run's id.

    Raises:
        RuntimeError: the process ended before it could be killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        job = json.dumps([name, asdict(settings), str(root), str(checkpoint)])
        # The child's sys.path is this process's: the current folder must not become part of it.
        code = f"import sys; sys.path[:] = {sys.path!r}; from explorer.demo.interrupted import work; work()"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which then ends it
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            run_id = ""
            try:
                process.stdin.write(job)
                process.stdin.close()
                for line in process.stdout:
                    epoch, accuracy, run_id = json.loads(line)
                    on_epoch(epoch, accuracy, run_id)
                    if epoch >= settings.num_epochs // 2:
                        break
            finally:
                process.kill()
        if not checkpoint.exists():
            raise RuntimeError(f"the training to be killed ended by itself, with exit code {process.returncode}")
        return train(name, settings, root, resume=run_id, checkpoint=checkpoint, on_epoch=on_epoch)


def work() -> None:
    """The process that will be killed: train what the parent says, and tell it about each epoch."""
    import torch

    torch.set_num_threads(1)
    name, settings, root, checkpoint = json.loads(sys.stdin.read())
    train(
        name,
        replace(Settings(), **settings),
        root,
        tags=TAGS,
        notes=NOTES,
        checkpoint=Path(checkpoint),
        on_epoch=lambda *state: print(json.dumps(state), flush=True),
    )
