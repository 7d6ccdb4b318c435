"""A recorded run as the child opens it: its program, its examples, and the weights of any step, read when needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.errors import FileError, ProgramError, SnapshotNotFound, UsageError
from explorer.inference.edits.apply import Subject
from explorer.inference.edits.weight_edits import Weights
from explorer.inference.factory import Factory
from explorer.inference.hooked_model import HookedModel
from explorer.inference.plain_model import Array, PlainModel, own_plain_model, read_plain_model
from explorer.inference.sandbox.early_reading import EarlyReading
from explorer.inference.sandbox.weight_store import WeightStore
from explorer.inference.tokenizing import load_tokenizer
from explorer.inference.weights import bind, limit_file
from explorer.inference.weights_file import WeightsFile
from explorer.programs.interpreter import Interpreter
from explorer.reading.catalogue import Catalogue
from explorer.reading.runs import Run, open_run
from explorer.storage.program import Program
from explorer.storage.program_document import parse_program


class OpenedRun:
    """A run whose model can run. Half precision has become float32, as on the page that asks.

    Args:
        folder: the run's.
        store: keeps the weights of all runs of this process.
        factory: the user's own code, which then makes the model; None: the captured program runs.
        early: weights that are read already, perhaps those that are asked for first.

    Raises:
        ProgramError: the run has no program, or this PyTorch cannot run it.
        FileError: what belongs to the program is damaged.
    """

    def __init__(
        self,
        folder: str,
        store: WeightStore,
        factory: Factory | None = None,
        early: EarlyReading | None = None,
    ) -> None:
        self._folder, self._store, self._early = folder, store, early
        self.model: PlainModel
        self.interpreter: Interpreter | HookedModel
        if factory is not None:
            self.model, self.interpreter = _own(self.run, factory)
        else:
            model = read_plain_model(folder)
            if model is None:
                raise ProgramError(f"the run {Path(folder).name} has no captured model")
            self.model = model
            self.interpreter = Interpreter(parse_program(dict(model.document)), _tensors(model.constants))
        self.program: Program = self.interpreter.program
        self.probe = _tensors(self.model.inputs) if self.model.num_examples else None

    @cached_property
    def run(self) -> Run:
        """The run, for what is known of its neighbours."""
        return open_run(self._folder)

    @cached_property
    def tokenizer(self) -> Any:  # noqa: ANN401
        """The recorded tokenizer, a `tokenizers.Tokenizer`. Raises UsageError: there is none, or it cannot be read."""
        if self.model.tokenizer is None:
            raise UsageError("no tokenizer was recorded with this model")
        return load_tokenizer(self.model.tokenizer.tobytes())

    @property
    def num_bytes(self) -> int:
        """Of the weights of one step, about: four for each number."""
        return 4 * sum(math.prod(weight.shape) for weight in self.program.weights.values())

    def subject(self, source: int | WeightsFile | None, device: torch.device) -> Subject:
        """The model with weights of a step, of a file, or (None) of the last step. Raises as `weights.bind`."""
        weights = self._of_file(source, device) if isinstance(source, WeightsFile) else self.of_step(source, device)
        return Subject(self.interpreter, weights, device, self.probe, _Steps(self, device))

    def of_step(
        self, step: int | None, device: torch.device, run: Run | None = None, *, first: bool = False
    ) -> Weights:
        """The weights of a step of this run or of another; None is the last one, or the first."""
        of = run or self.run
        if step is None:
            steps = sorted({info.step for info in of.snapshots if info.problem is None})
            if not steps:
                raise SnapshotNotFound(f"run {of.info.run_id} has no snapshots to take weights from")
            step = steps[0 if first else -1]
        early = None if self._early is None else self._early.take(str(of.path), step)
        self._early = None
        snapshot, held = (of.snapshot(step), None) if early is None else early
        key = (self._folder, str(of.path), step, snapshot.attempt, str(device))
        return self._store.get(key, lambda: bind(self.program, snapshot, device=device, held=held))

    def _of_file(self, file: WeightsFile, device: torch.device) -> Weights:
        self._early = None  # nobody asked for those
        limit_file(Path(file.path))
        key = (self._folder, *file.identity, str(device))
        return self._store.get(key, lambda: bind(self.program, file.path, device=device, prefix=file.prefix))


class _Steps:
    """`edits.weight_edits.Snapshots` of a run and of its neighbours in the same folder of runs."""

    def __init__(self, opened: OpenedRun, device: torch.device) -> None:
        self._opened, self._device = opened, device

    def weights(self, run: str, step: int | None) -> Weights:
        """Raises RunNotFound, SnapshotNotFound, ProgramError, FileError."""
        # Looked up among those that are there: a name from a link is never joined to a path.
        other = open_run(Catalogue(self._opened.run.path.parent).look(run)) if run else None
        return self._opened.of_step(step, self._device, other, first=True)


def _own(run: Run, factory: Factory) -> tuple[PlainModel, HookedModel]:
    """The user's own model, on the examples that it brings along or that were recorded."""
    recorded: PlainModel | None = None
    # Without a program that can be read there is nothing recorded to compare with; that is what a factory is for.
    with suppress(FileError, ProgramError):
        recorded = read_plain_model(run.path)
    module, examples = factory.make(run.config)
    as_recorded = not examples and recorded is not None
    if as_recorded and recorded is not None:
        examples = {found.path: found.value for found in recorded.program.inputs} | _tensors(recorded.inputs)
    inputs = {path: value.numpy() for path, value in examples.items() if isinstance(value, torch.Tensor)}
    if not inputs:
        raise ProgramError(
            f"there is nothing to run the model on: no examples were recorded. Let {factory.name} return "
            "(module, example_inputs)"
        )
    hooked = HookedModel(module, examples)
    if as_recorded and recorded is not None:
        hooked.identify(recorded.program.fingerprint, recorded.program.step)
    return own_plain_model(factory.name, hooked.document, None if as_recorded else inputs, recorded), hooked


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
