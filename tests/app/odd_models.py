"""Trainings of models that are not plain, recorded as their users would: through the public interface alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from explorer import Recorder

NUM_WORDS = 1_000_000
NUM_STEPS = 6


class Odd(nn.Module):
    """A network with tensors of every kind beside the ones that learn.

    Args:
        gone: leaves the layer `extra` out, and makes `body` another shape.
    """

    def __init__(self, gone: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(NUM_WORDS, 2)
        self.body = nn.Linear(2, 6 if gone else 8)
        if not gone:
            self.extra = nn.Linear(8, 8)
        self.head = nn.Linear(6 if gone else 8, 3)
        self.one = nn.Parameter(torch.ones(1))
        self.number = nn.Parameter(torch.tensor(2.0))
        self.empty = nn.Parameter(torch.empty(0, 4))
        self.constant = nn.Parameter(torch.full((4, 4), 0.5), requires_grad=False)
        self.nothing = nn.Parameter(torch.full((3, 5), float("nan")), requires_grad=False)
        self.phase = nn.Parameter(torch.ones(4, 4, dtype=torch.complex64))
        self.elsewhere = nn.Parameter(torch.empty(4, 4, device="meta"), requires_grad=False)
        self.register_buffer("flags", torch.tensor([True, False, True]))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("bytes", torch.arange(12, dtype=torch.uint8).reshape(3, 4))
        self.register_buffer("links", torch.eye(4).to_sparse())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces another way of quantising
            self.register_buffer("levels", torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Return `[examples, 3]` for words `[examples]`."""
        hidden = torch.relu(self.body(self.words(words))) * self.one * self.number
        hidden = self.extra(hidden) if hasattr(self, "extra") else hidden
        return self.head(hidden) + (self.phase.abs() - 1).mean()


def record_odd(root: Path, name: str = "odd", *, gone: bool = False) -> str:
    """Record a short training of `Odd` with everything that there is to record, and return its run id."""
    torch.manual_seed(0)
    model = Odd(gone)
    optimizer = torch.optim.SGD([one for one in model.parameters() if not one.is_meta], lr=0.05)
    words = torch.randint(0, NUM_WORDS, (32,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out is said once
        with Recorder(name, root=root, quiet=True, system_every_s=None) as recorder:
            recorder.watch(model, optimizer, schedule=1)
            for step in range(NUM_STEPS):
                if step % 2 == 0:
                    recorder.snapshot(model, step)
                    recorder.probe(model, words, step)
                loss = nn.functional.cross_entropy(model(words), torch.arange(32) % 3)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                model.count += 1
                recorder.log({"train/loss": loss.item()}, step=step)
    return recorder.run_id


def record_without_parameters(root: Path) -> str:
    """Record a model that has nothing to learn, and return its run id."""
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Recorder("nothing to learn", root=root, quiet=True, system_every_s=None) as recorder:
            recorder.watch(model, schedule=1)
            for step in range(3):
                recorder.snapshot(model, step)
                recorder.log({"train/loss": model(torch.ones(2, 3)).mean().item()}, step=step)
    return recorder.run_id
