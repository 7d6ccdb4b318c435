"""The child's side: the models that it holds, made from plain arrays, and what became of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.edits.apply import Subject
from explorer.inference.edits.recorded import subject_of
from explorer.inference.edits.weight_edits import Weights
from explorer.inference.loading import load_model
from explorer.programs.interpreter import Interpreter
from explorer.reading.runs import open_run
from explorer.storage.program_document import parse_program

MAX_MODELS: Final = 2
MAX_SNAPSHOTS: Final = 8


class HeldSnapshots:
    """Weights of other steps and runs that the parent has sent; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, int | None], Weights] = OrderedDict()

    def weights(self, run: str, step: int | None) -> Weights:
        """As `edits.weight_edits.Snapshots`."""
        found = self._held.get((run, step))
        if found is None:
            what = "the first snapshot" if step is None else f"step {step:,}"
            raise UsageError(f"the weights of {what}{f' of run {run}' if run else ''} were not given to the sandbox")
        return found

    def add(self, run: str, step: int | None, weights: Weights) -> list[list[Any]]:
        """Keep weights; returns which are kept now, as [run, step]."""
        self._held[run, step] = weights
        self._held.move_to_end((run, step))
        while len(self._held) > MAX_SNAPSHOTS:
            self._held.popitem(last=False)
        return [[*key] for key in self._held]


class Models:
    """Models by key; the least recently used go when there are too many."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Subject] = OrderedDict()

    def load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a model of a program (a document), constants, weights and probe (arrays by name); keep it by its key."""
        key = text(request, "key")
        program = parse_program(_dict(request, "program"))
        interpreter = Interpreter(program, tensors(request, "constants"))
        probe = tensors(request, "probe") or None
        device = torch.device(text(request, "device"))
        weights = {name: tensor.to(device) for name, tensor in tensors(request, "weights").items()}
        return self._keep(key, Subject(interpreter, weights, device, probe, HeldSnapshots()))

    def open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a model of a recorded run: run (its folder), step (None: the last), device; keep it by its key."""
        run = open_run(text(request, "run"))
        model = load_model(run, _step(request), text(request, "device"))
        return self._keep(text(request, "key"), subject_of(model, run))

    def _keep(self, key: str, subject: Subject) -> dict[str, Any]:
        self._held[key] = subject
        while len(self._held) > MAX_MODELS:
            self._held.popitem(last=False)
        return {"keys": list(self._held)}

    def snapshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the weights of another step or run for a model's edits."""
        held = self.get(request).snapshots
        if not isinstance(held, HeldSnapshots):
            raise UsageError("a recorded run reads its snapshots itself")
        return {"snapshots": held.add(text(request, "run"), _step(request), tensors(request, "weights"))}

    def get(self, request: Mapping[str, Any]) -> Subject:
        """The model that a request names. Raises UsageError."""
        key = text(request, "key")
        if key not in self._held:
            raise UsageError(f"the sandbox holds no model {key!r}; it should be loaded first")
        self._held.move_to_end(key)
        return self._held[key]


def tensors(request: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """A dictionary of arrays as tensors that share their memory. Raises UsageError."""
    found = request.get(name) or {}
    if not isinstance(found, Mapping) or not all(isinstance(array, np.ndarray) for array in found.values()):
        raise UsageError(f"a request's {name} should be arrays by name")
    return {key: torch.from_numpy(array) for key, array in found.items()}


def text(request: Mapping[str, Any], name: str) -> str:
    """A text of a request. Raises UsageError."""
    found = request.get(name)
    if not isinstance(found, str) or len(found) > 1_000:
        raise UsageError(f"a request's {name} should be a text; found a {type(found).__name__}")
    return found


def _step(request: Mapping[str, Any]) -> int | None:
    step = request.get("step")
    if step is not None and type(step) is not int:
        raise UsageError(f"a request's step should be a whole number; found a {type(step).__name__}")
    return step


def _dict(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = request.get(name)
    if not isinstance(found, dict):
        raise UsageError(f"a request's {name} should be an object; found a {type(found).__name__}")
    return found
