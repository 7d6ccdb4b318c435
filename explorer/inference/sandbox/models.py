"""The child's side: the models that it was told of, each made when a request needs it, and what they gave lately."""

from __future__ import annotations

import gc
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.devices import pick_device
from explorer.inference.edits.apply import Edited, Subject
from explorer.inference.edits.weight_edits import Weights
from explorer.inference.factory import Factory
from explorer.inference.sandbox.early_reading import EarlyReading, weight_bytes
from explorer.inference.sandbox.opened_run import OpenedRun
from explorer.inference.sandbox.weight_store import WeightStore
from explorer.inference.weights_file import WeightsFile
from explorer.programs.interpreter import Interpreter, Result
from explorer.storage.program_document import parse_program

MAX_RUNS: Final = 4
MAX_SENT: Final = 2
MAX_OPEN: Final = 256
MAX_SNAPSHOTS: Final = 8
OUTPUT_BYTES: Final = 256 * 2**20
AHEAD_BYTES: Final = 128 * 2**20
"""Nobody should wait for long for weights that were read on suspicion."""

Opening = tuple[tuple[str, str, bool], int | WeightsFile | None]


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
    """Models by key. Of a recorded run only the way to it is kept; its weights are in a store that has a limit.

    Args:
        device: where they run, as PyTorch names it.
        memory_bytes: what this process may take; a quarter of it is for weights of steps that were read before.
        factory: the user's own code, as the command line named it.
        early: weights that are read already, perhaps those that are asked for first.

    Attributes:
        note: what the user should know of where they run; "" when it is where it should be.
    """

    def __init__(
        self,
        device: str = "cpu",
        memory_bytes: int | None = None,
        factory: Factory | None = None,
        early: EarlyReading | None = None,
    ) -> None:
        self.note = ""
        self._factory, self._early = factory, early
        self._asked = device
        self._store = WeightStore(weight_bytes(memory_bytes))
        self._runs: OrderedDict[tuple[str, str, bool], OpenedRun] = OrderedDict()
        self._openings: OrderedDict[str, Opening] = OrderedDict()
        self._sent: OrderedDict[str, Subject] = OrderedDict()
        self._outputs: OrderedDict[tuple[str, str], Result] = OrderedDict()

    def load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a model of a program (a document), constants, weights and probe (arrays by name); keep it by its key."""
        key = text(request, "key")
        program = parse_program(_dict(request, "program"))
        interpreter = Interpreter(program, tensors(request, "constants"))
        probe = tensors(request, "probe") or None
        weights = {name: tensor.to(self.device) for name, tensor in tensors(request, "weights").items()}
        self._forget(key)
        self._sent[key] = Subject(interpreter, weights, self.device, probe, HeldSnapshots())
        while len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)
        return {"keys": [*self._sent, *self._openings]}

    def open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Name a model of a recorded run, which is read here; keep it by its key.

        Request: run (its folder), version (changes when its program does), step (None: the last) or file (a path) with
        prefix (of its names, left out); with factory true, the user's own code runs instead of the program.
        """
        key = text(request, "key")
        file = request.get("file")
        source = _step(request) if file is None else weights_file(request)
        own = request.get("factory") is True
        if own and self._factory is None:
            raise UsageError("no factory was given on the command line")
        self._forget(key)
        self._openings[key] = ((text(request, "run"), str(request.get("version", "")), own), source)
        try:
            self.get(request)
        except BaseException:
            del self._openings[key]
            raise
        while len(self._openings) > MAX_OPEN:
            self._openings.popitem(last=False)
        return {"keys": [*self._sent, *self._openings]}

    def snapshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the weights of another step or run for the edits of a model that was sent."""
        held = self.get(request).snapshots
        if not isinstance(held, HeldSnapshots):
            raise UsageError("a recorded run reads its snapshots itself")
        return {"snapshots": held.add(text(request, "run"), _step(request), tensors(request, "weights"))}

    def get(self, request: Mapping[str, Any]) -> Subject:
        """The model that a request names. Raises UsageError, and what reading its weights raises."""
        key = text(request, "key")
        if key in self._sent:
            self._sent.move_to_end(key)
            return self._sent[key]
        return self.opened(request).subject(self._openings[key][1], self.device)

    def opened(self, request: Mapping[str, Any]) -> OpenedRun:
        """The run of the model that a request names. Raises UsageError."""
        key = text(request, "key")
        if key not in self._openings:
            raise UsageError(f"the sandbox holds no model {key!r}; it should be loaded first")
        self._openings.move_to_end(key)
        which = self._openings[key][0]
        if which not in self._runs:
            folder, _, own = which
            early, self._early = self._early, None
            self._runs[which] = OpenedRun(folder, self._store, self._factory if own else None, early)
            while len(self._runs) > MAX_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(which)
        return self._runs[which]

    def original(self, key: str, edited: Edited) -> Result:
        """What the unedited model gives for the unedited inputs; run once for each input."""
        digest = hashlib.sha256()
        for path in sorted(edited.given):
            value = edited.given[path].detach().cpu().contiguous()
            digest.update(f"{path} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy())
        found = self._outputs.get((key, digest.hexdigest()))
        if found is None:
            found = self._outputs[key, digest.hexdigest()] = edited.original()
            while len(self._outputs) > 1 and sum(map(_num_bytes, self._outputs.values())) > OUTPUT_BYTES:
                self._outputs.popitem(last=False)
        self._outputs.move_to_end((key, digest.hexdigest()))
        return found

    def read_ahead(self, key: str, step: int) -> None:
        """Read the weights of a step of a model's run, if that is soon done and there is room. Raises as reading."""
        opened = self._openings.get(key)
        run = None if opened is None else self._runs.get(opened[0])
        if run is not None and run.num_bytes <= min(AHEAD_BYTES, self._store.num_free_bytes):
            run.of_step(step, self.device)

    @property
    def device(self) -> torch.device:
        """Where models run. Raises UsageError: there is no such device here."""
        return pick_device(self._asked)

    def move_to_cpu(self) -> None:
        """Run everything on the CPU from now on, and let go of what is elsewhere."""
        self._asked = "cpu"
        self._store.clear()
        self._outputs.clear()
        for key, subject in self._sent.items():
            weights = {name: tensor.cpu() for name, tensor in subject.weights.items()}
            self._sent[key] = replace(subject, device=torch.device("cpu"), weights=weights)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _forget(self, key: str) -> None:
        self._sent.pop(key, None)
        self._openings.pop(key, None)
        for held in [held for held in self._outputs if held[0] == key]:
            del self._outputs[held]


def _num_bytes(result: Result) -> int:
    return sum(value.nbytes for value in result.outputs.values() if isinstance(value, Tensor))


def tensors(request: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """A dictionary of arrays as tensors that share their memory. Raises UsageError."""
    found = request.get(name) or {}
    if not isinstance(found, Mapping) or not all(isinstance(array, np.ndarray) for array in found.values()):
        raise UsageError(f"a request's {name} should be arrays by name")
    return {key: torch.from_numpy(array) for key, array in found.items()}


def weights_file(request: Mapping[str, Any]) -> WeightsFile:
    """The file that a request names, the prefix of its names, and the how-manieth reading it is. Raises UsageError."""
    reading = request.get("reading", 0)
    if type(reading) is not int:
        raise UsageError(f"a request's reading should be a whole number; found a {type(reading).__name__}")
    return WeightsFile(text(request, "file"), text(request, "prefix") if request.get("prefix") else "", reading)


def text(request: Mapping[str, Any], name: str) -> str:
    """A text of a request. Raises UsageError."""
    found = request.get(name)
    if not isinstance(found, str) or len(found) > 4_096:
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
