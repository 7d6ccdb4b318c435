"""The demo's trainings: what is trained, in which order, and how far it is."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from explorer.demo.interrupted import train_killed_and_resumed
from explorer.demo.progress import Progress
from explorer.demo.text_training import TextSettings, train_text
from explorer.demo.training import Settings, train

OnEpoch = Callable[[int, float | None, str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of the sweep."""

    name: str
    settings: Settings | TextSettings
    group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    killed: bool = False
    """Killed half-way and resumed."""


_CNN = Settings()
_MLP = Settings(model="mlp", optimizer="sgd", lr=0.05, num_epochs=40)

SWEEP = (
    Training(
        name="digits-cnn-few-images",
        settings=replace(_CNN, num_train=160, batch_size=16, num_epochs=40),
        tags=("overfits",),
        notes="Learns its 160 images by heart: the training loss goes on falling, the validation loss does not.",
    ),
    Training(
        name="digits-mlp-lr-too-high",
        settings=replace(_MLP, lr=1.0),
        tags=("diverges",),
        notes="Like digits-mlp with 20 times its learning rate: learns at first, then the loss explodes.",
    ),
    *(Training(name="digits-mlp", settings=replace(_MLP, seed=seed), group="mlp") for seed in range(3)),
    *(
        Training(
            name="digits-cnn-wide",
            settings=replace(_CNN, width=24, dropout=0.25, seed=seed),
            group="cnn-wide",
            tags=("healthy", "dropout"),
        )
        for seed in range(2)
    ),
    *(
        Training(name="digits-cnn", settings=replace(_CNN, seed=seed), group="cnn", tags=("healthy",))
        for seed in range(3)
    ),
    Training(
        name="text-transformer",
        settings=TextSettings(),
        tags=("text",),
        notes="Continues Python's own help pages letter by letter.",
    ),
    Training(name="digits-cnn-resumed", settings=replace(_CNN, seed=3), killed=True),
)


def record_demo(root: str | Path, *, quick: bool = False, progress: Progress | None = None) -> list[str]:
    """Train the sweep and record it.

    Args:
        root: folder of runs; made when missing.
        quick: four epochs of each training instead of fifteen or more.
        progress: where to show how far it is; by default the standard output.

    Returns:
        The ids of the runs, in the order of `SWEEP`.
    """
    trainings = [shortened(training) for training in SWEEP] if quick else list(SWEEP)
    progress = progress or Progress(sum(training.settings.num_epochs for training in trainings))
    progress.note(f"Training {len(trainings)} small networks on digits and text, recorded to {root}")
    started = time.monotonic()
    run_ids: list[str] = []
    num_epochs_before = 0
    with _one_thread():
        for number, training in enumerate(trainings, 1):
            told = f"{number}/{len(trainings)} {training.name}, seed {training.settings.seed}"

            def on_epoch(epoch: int, accuracy: float | None, run_id: str) -> None:
                if run_id not in run_ids:
                    run_ids.append(run_id)
                result = "" if accuracy is None else f", val/accuracy {accuracy:.3f}"
                text = f"{told}: epoch {epoch}/{training.settings.num_epochs}{result}"  # noqa: B023 - called in this turn
                progress.show(text, num_epochs_before + epoch)  # noqa: B023

            # The one that diverges is recorded as failed, with its error; the sweep goes on.
            with contextlib.suppress(FloatingPointError):
                _train(training, root, on_epoch)
            num_epochs_before += training.settings.num_epochs
            progress.show(told, num_epochs_before)
    progress.note(f"Recorded {len(run_ids)} runs in {time.monotonic() - started:.0f} s")
    return run_ids


def _train(training: Training, root: str | Path, on_epoch: OnEpoch) -> None:
    settings = training.settings
    facts: dict[str, Any] = {"group": training.group, "tags": training.tags, "notes": training.notes}
    if isinstance(settings, TextSettings):
        train_text(training.name, settings, root, **facts, on_epoch=on_epoch)
    elif training.killed:
        train_killed_and_resumed(training.name, settings, root, on_epoch)
    else:
        train(training.name, settings, root, **facts, on_epoch=on_epoch)


def shortened(training: Training) -> Training:
    """The same training with as few epochs as still show what it is for."""
    return replace(training, settings=replace(training.settings, num_epochs=4))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Networks this small are fastest on one thread."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
