"""Small models of every kind, recorded as a user would, for the Inference page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from explorer import Recorder

CLASSES = ["nought", "one", "two", "three"]


class Embedded(nn.Module):
    """The next token of each of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [N, T, 5]."""
        logits: torch.Tensor = self.head(self.embedding(tokens))
        return logits


class Masked(nn.Module):
    """A class of a text whose tokens count where a mask says so."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits [N, 4] of tokens [N, T] and a mask [N, T]."""
        weights = mask.to(torch.float32).unsqueeze(-1)
        mean = (self.embedding(tokens) * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        logits: torch.Tensor = self.head(mean)
        return logits


class FixedBatch(nn.Module):
    """A classifier whose path depends on a weight, so that it is taped for batches of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.head = nn.Linear(108, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 4] of images [N, 1, 6, 6]."""
        if float(self.head.bias.detach().abs().max()) > 1e9:
            images = -images
        logits: torch.Tensor = self.head(torch.relu(self.conv(images)).flatten(1))
        return logits


class Apart(nn.Module):
    """How far two images are apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Distance [N, 1] of images [N, 1, H, W]."""
        change: torch.Tensor = self.conv(first) - self.conv(second)
        return change.pow(2).mean(dim=(1, 2, 3)).unsqueeze(1)


class Autoencoder(nn.Module):
    """Images in, images out, with the code in between."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [N, 1, H, W] and codes [N, 4, H/2, W/2]."""
        code = torch.relu(self.down(images))
        return torch.sigmoid(self.up(code)), code


def record(root: Path, name: str, model: nn.Module, *inputs: Any, **about: Any) -> str:
    """Record a model with one snapshot and these examples; returns the run's id."""
    with Recorder(name, root=root, quiet=True, system_every_s=None) as rec:
        rec.log({"loss": 1.0}, step=0)
        rec.snapshot(model, step=0)
        rec.program(model, *inputs, **about)
    return rec.run_id


def record_images(root: Path, name: str = "images", steps: tuple[int, ...] = (0, 5)) -> str:
    """A classifier of images 6 x 6 in four classes, right about all of them at the last step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
    images = torch.rand(6, 1, 6, 6)
    with Recorder(name, root=root, quiet=True, system_every_s=None) as rec:
        rec.log({"loss": 1.0}, step=0)
        for step in steps:
            rec.snapshot(model, step=step)
            if step != steps[-1]:
                with torch.no_grad():
                    model[3].weight.mul_(2)
        labels = model(images).argmax(1)
        rec.program(model, images, labels=labels, class_names=CLASSES, kind="image")
    return rec.run_id


def record_digits(root: Path) -> str:
    """A model of images 8 x 8 in ten classes with three snapshots of different weights."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with Recorder("digits", root=root, quiet=True, system_every_s=None) as rec:
        for step in (0, 3, 9):
            torch.manual_seed(step)
            for part in (model[0], model[3]):
                part.reset_parameters()
            rec.snapshot(model, step=step)
        rec.program(model, images, labels=torch.arange(10), kind="image")
    return rec.run_id


def record_texts(root: Path) -> str:
    """A model of texts over five characters."""
    torch.manual_seed(0)
    return record(root, "texts", Embedded(), torch.tensor([[0, 1, 2, 3]] * 2), vocabulary=list("abcd "), kind="tokens")


def record_table(root: Path) -> str:
    """A regression of three named features."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    rows = torch.randn(12, 3)
    names = ["age", "height", "weight"]
    return record(root, "table", model, rows, labels=rows.sum(1), feature_names=names, kind="table")


def record_masked(root: Path) -> str:
    """A classifier of texts that takes a mask besides."""
    torch.manual_seed(0)
    tokens = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [4, 4, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    about = {"class_names": CLASSES, "vocabulary": list("abcd ")}
    return record(root, "masked", Masked(), tokens, mask=mask, labels=torch.tensor([0, 1, 2]), **about)


def record_apart(root: Path) -> str:
    """A model of two images."""
    torch.manual_seed(0)
    return record(root, "apart", Apart(), torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8), kind="image")


def record_autoencoder(root: Path) -> str:
    """A model whose output is an image."""
    torch.manual_seed(0)
    return record(root, "autoencoder", Autoencoder(), torch.rand(4, 1, 8, 8), kind="image")


def record_segmentation(root: Path) -> str:
    """A model that gives five scores for every pixel."""
    torch.manual_seed(0)
    return record(root, "segmentation", nn.Conv2d(1, 5, 3, padding=1), torch.rand(4, 1, 8, 8), kind="image")


def record_fixed_batch(root: Path) -> str:
    """A model whose batch has one size."""
    torch.manual_seed(0)
    about = {"labels": torch.arange(4), "class_names": CLASSES, "kind": "image"}
    return record(root, "fixed", FixedBatch(), torch.rand(4, 1, 6, 6), **about)
