"""The demo's data and networks: 1,797 handwritten digits of 8 x 8 pixels, which scikit-learn ships."""

import math
from collections import OrderedDict

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

NUM_VAL = 360


def load_images(num_train: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and labels for training, then for validation; the split is the same for every run.

    Returns:
        Images float32 ``[N, 1, 8, 8]`` in 0 to 1 and labels int64 ``[N]``, twice.
    """
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images, labels, test_size=NUM_VAL, stratify=labels, random_state=0)
    train_images, val_images = (torch.tensor(part, dtype=torch.float32).view(-1, 1, 8, 8) / 16 for part in split[:2])
    train_labels, val_labels = (torch.tensor(part, dtype=torch.int64) for part in split[2:])
    return train_images[:num_train], train_labels[:num_train], val_images, val_labels


def build_model(kind: str, width: int, dropout: float) -> nn.Module:
    """A small network ``[N, 1, 8, 8] -> [N, 10]``: ``cnn`` with two convolutions, or ``mlp`` with two hidden layers."""
    if kind == "cnn":
        return _named(
            conv1=nn.Conv2d(1, width, 3, padding=1),
            act1=nn.LeakyReLU(0.1),
            conv2=nn.Conv2d(width, 2 * width, 3, padding=1),
            act2=nn.LeakyReLU(0.1),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(dropout),
            head=nn.Linear(2 * width * 16, 10),
        )
    hidden = 8 * width
    return _named(
        flatten=nn.Flatten(),
        hidden1=nn.Linear(64, hidden),
        act1=nn.LeakyReLU(0.1),
        dropout=nn.Dropout(dropout),
        hidden2=nn.Linear(hidden, hidden),
        act2=nn.LeakyReLU(0.1),
        head=nn.Linear(hidden, 10),
    )


def _named(**layers: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(layers))


def warmup_cosine(step: int, num_warmup: int, num_steps: int) -> float:
    """Factor of the learning rate: up a line, then down a cosine to zero.

    Example:
        >>> [round(warmup_cosine(step, 2, 10), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / (num_steps - num_warmup)))


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss and share of right answers (0 to 1), without dropout."""
    model.eval()
    logits = model(images)
    loss = nn.functional.cross_entropy(logits, labels)
    return loss.item(), (logits.argmax(1) == labels).double().mean().item()
