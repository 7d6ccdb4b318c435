"""The training of the demo's transformer, as a user would write it."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from explorer import EarlyThenEvery, Recorder
from explorer.demo.characters import CONTEXT, CharTransformer, draw_batch, evaluate_text, load_text
from explorer.demo.digits import warmup_cosine

STEPS_PER_EPOCH = 40
NUM_PROBED = 16


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """Everything that decides how one training goes. An epoch is 40 batches: the text is not read to its end."""

    model: str = "transformer"
    width: int = 64
    num_heads: int = 4
    num_blocks: int = 2
    lr: float = 6e-3
    """Learning rate after the warm-up; it then falls to zero along a cosine."""
    batch_size: int = 24
    """Pieces of 64 letters."""
    num_epochs: int = 10
    seed: int = 0


def train_text(
    name: str,
    settings: TextSettings,
    root: str | Path,
    *,
    group: str | None = None,
    tags: tuple[str, ...] = (),
    notes: str = "",
    on_epoch: Callable[[int, float | None, str], None] = lambda epoch, accuracy, run_id: None,
) -> str:
    """Train the transformer and record it; arguments and result as those of `training.train`."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    vocabulary, tokens, val_tokens = load_text()
    num_steps = STEPS_PER_EPOCH * settings.num_epochs
    probed = val_tokens[: NUM_PROBED * CONTEXT].view(NUM_PROBED, CONTEXT)
    model = CharTransformer(len(vocabulary), settings.width, settings.num_heads, settings.num_blocks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: warmup_cosine(n, STEPS_PER_EPOCH, num_steps))

    with Recorder(
        name, config=asdict(settings), root=root, group=group, tags=tags, notes=notes, system_every_s=0.5, quiet=True
    ) as rec:
        rec.update_config({"num_parameters": sum(parameter.numel() for parameter in model.parameters())})
        rec.watch(model, optimizer, schedule=EarlyThenEvery(early=20, every=20))
        rec.snapshots(model, log_spaced=True, every=100, best=("val/loss", "min"), after=optimizer)
        rec.program(model, probed, vocabulary=vocabulary, kind="tokens")
        on_epoch(0, None, rec.run_id)
        for step in range(num_steps):
            model.train()
            letters, following = draw_batch(tokens, settings.batch_size, generator)
            logits = model(letters).flatten(0, 1)
            loss = nn.functional.cross_entropy(logits, following.flatten())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            rec.log(
                {
                    "train/loss": loss,
                    "train/accuracy": (logits.argmax(1) == following.flatten()).float().mean(),
                    "train/perplexity": math.exp(min(loss.item(), 20.0)),
                    "train/grad_norm": norm,
                    "train/lr": schedule.get_last_lr()[0],
                    "epoch": step / STEPS_PER_EPOCH,
                },
                step=step,
            )
            optimizer.step()
            schedule.step()
            if (step + 1) % STEPS_PER_EPOCH == 0:
                if (step + 1) // STEPS_PER_EPOCH in (1, 5, settings.num_epochs):
                    rec.probe(model, probed, step)
                val_loss, val_accuracy = evaluate_text(model, val_tokens)
                rec.log({"val/loss": val_loss, "val/accuracy": val_accuracy}, step=step)
                on_epoch((step + 1) // STEPS_PER_EPOCH, val_accuracy, rec.run_id)
        rec.snapshot(model, num_steps - 1)
    return rec.run_id
