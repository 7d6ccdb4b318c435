"""A training as a user would write it: an ordinary loop with a Recorder around it."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explorer import EarlyThenEvery, Recorder
from explorer.demo.digits import build_model, evaluate, load_images, warmup_cosine

NUM_PROBED, NUM_EXAMPLES = 50, 32


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides how one training goes."""

    model: str = "cnn"
    """``cnn`` or ``mlp``."""
    width: int = 16
    """Channels of the first convolution, or an eighth of the hidden units."""
    dropout: float = 0.0
    optimizer: str = "adamw"
    """``adamw``, or ``sgd`` with momentum 0.9."""
    lr: float = 3e-3
    """Learning rate after the warm-up; it then falls to zero along a cosine."""
    batch_size: int = 64
    num_epochs: int = 15
    num_train: int = 1437
    """Images to train on, at most 1,437."""
    seed: int = 0


def train(
    name: str,
    settings: Settings,
    root: str | Path,
    *,
    group: str | None = None,
    tags: tuple[str, ...] = (),
    notes: str = "",
    checkpoint: Path | None = None,
    resume: str | None = None,
    on_epoch: Callable[[int, float | None, str], None] = lambda epoch, accuracy, run_id: None,
) -> str:
    """Train one network and record it.

    Args:
        name: of the run.
        settings: of the training; recorded as the run's config.
        root: folder of runs.
        group: runs of one group are drawn as mean and band.
        tags: words to find the run by.
        notes: a sentence on what the run is for.
        checkpoint: file to save to after each epoch, and to continue from when it is there.
        resume: id of the run to continue.
        on_epoch: called at the start and after each epoch with the number of epochs done, the accuracy on validation
            images (None at the start) and the run's id.

    Returns:
        The run's id.

    Raises:
        FloatingPointError: the loss has not been a number for a whole epoch.
    """
    torch.manual_seed(settings.seed)
    images, labels, val_images, val_labels = load_images(settings.num_train)
    steps_per_epoch = len(images) // settings.batch_size
    num_steps = steps_per_epoch * settings.num_epochs
    model = build_model(settings.model, settings.width, settings.dropout)
    if settings.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: warmup_cosine(n, steps_per_epoch, num_steps))
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}

    step = num_bad = 0
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        for part, value in parts.items():
            value.load_state_dict(saved[part])
        step = saved["step"]

    with Recorder(
        name,
        config=asdict(settings),
        root=root,
        group=group,
        tags=tags,
        notes=notes,
        run_id=resume,
        resume="must" if resume else "never",
        system_every_s=0.5,
        quiet=True,
    ) as rec:
        rec.update_config({"num_parameters": sum(parameter.numel() for parameter in model.parameters())})
        rec.watch(model, optimizer, schedule=EarlyThenEvery(early=20, every=20))
        snapshots = rec.snapshots(model, log_spaced=True, every=100, best=("val/loss", "min"))
        rec.program(
            model,
            val_images[:NUM_EXAMPLES],
            labels=val_labels[:NUM_EXAMPLES],
            class_names=[str(digit) for digit in range(10)],
            kind="image",
        )
        on_epoch(step // steps_per_epoch, None, rec.run_id)
        while step < num_steps:
            model.train()
            order = torch.randperm(len(images))[: steps_per_epoch * settings.batch_size]
            for batch in torch.split(order, settings.batch_size):
                logits = model(images[batch])
                loss = nn.functional.cross_entropy(logits, labels[batch])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                rec.log(
                    {
                        "train/loss": loss,
                        "train/accuracy": (logits.argmax(1) == labels[batch]).float().mean(),
                        "train/grad_norm": nn.utils.clip_grad_norm_(model.parameters(), math.inf),
                        "train/lr": schedule.get_last_lr()[0],
                        "epoch": step / steps_per_epoch,
                    },
                    step=step,
                )
                rec.log_labels(labels[batch], step=step)
                optimizer.step()
                schedule.step()
                snapshots.step(step)
                step += 1
                num_bad = 0 if math.isfinite(loss.item()) else num_bad + 1
                if num_bad == steps_per_epoch:
                    raise FloatingPointError(
                        f"the loss is {loss.item()} for {num_bad} steps: lr={settings.lr} is too high"
                    )
            if step // steps_per_epoch in (1, 5, settings.num_epochs):
                rec.probe(model, val_images[:NUM_PROBED], step - 1)
            val_loss, val_accuracy = evaluate(model, val_images, val_labels)
            rec.log({"val/loss": val_loss, "val/accuracy": val_accuracy}, step=step - 1)
            if checkpoint is not None:
                state = {part: value.state_dict() for part, value in parts.items()}
                torch.save({**state, "step": step}, checkpoint)
            on_epoch(step // steps_per_epoch, val_accuracy, rec.run_id)
        rec.snapshot(model, step - 1)
    return rec.run_id
