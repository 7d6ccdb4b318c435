"""A training in a few lines, and what was recorded of its model."""

import json

import numpy as np
import torch

from explorer import Recorder
from explorer.reading.programs import read_recorded_program


def start(path, **options):
    return Recorder("t", root=path, quiet=True, system_every_s=None, **options)


def step(model, optimizer, *inputs, **named):
    """One step of a training."""
    optimizer.zero_grad()
    found = model(*inputs, **named)
    loss = (found[1] if isinstance(found, tuple) else found).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def sgd(model):
    return torch.optim.SGD(model.parameters(), 0.1)


def sample(path, role, name):
    """What was recorded of a sample, as an array of float32 or int64."""
    found = next(raw for raw in read_recorded_program(path).samples if (raw.role, raw.name) == (role, name))
    return np.frombuffer(found.data.tobytes(), found.dtype).reshape(found.shape)


def summary(rec):
    return json.loads((rec.path / "summary" / "0001-00000.json").read_text())["program"]


def num_hooks(model):
    names = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)
