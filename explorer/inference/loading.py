"""A recorded model with the weights of a step, ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.errors import ProgramError, SnapshotNotFound
from explorer.inference.devices import pick_device
from explorer.inference.edited_module import EditedModule
from explorer.inference.edits.apply import Subject, apply
from explorer.inference.tensors import tensor_from
from explorer.inference.weights import bind
from explorer.programs.comparing import TOLERANCE, difference, is_close
from explorer.programs.fingerprint import fingerprint
from explorer.programs.interpreter import Interpreter, Result
from explorer.reading.programs import RawTensor, RecordedProgram, program_problems, read_recorded_program
from explorer.reading.runs import Run, open_run
from explorer.storage.program import Program


@dataclass(frozen=True)
class Check:
    """Whether a program still gives what the model gave when it was recorded.

    Attributes:
        reproduces: whether each recorded output is met, up to the rounding of other kernels; None when it could not be
            tried: then `reason` says why.
        differences: largest absolute difference by output path.
        step: whose weights it ran with.
        reason: why not, or "".
    """

    reproduces: bool | None
    differences: Mapping[str, float | None]
    step: int | None
    reason: str


class LoadedModel:
    """A recorded model with weights, on a device.

    Attributes:
        program: what it computes.
        weights: by name; edit a copy: `{**model.weights, "fc.weight": model.weights["fc.weight"] * 0}`.
        step: of the weights; None when they are not of a snapshot.
        device: where it runs.
        inputs: the recorded example inputs, by path.
        outputs: what the model gave for them when it was captured, by path.
        labels: what is right for them; None when not recorded.
        about: what is known of the inputs: `kind`, `class_names`, `vocabulary`, `feature_names`.
        problems: what could not be read.
    """

    def __init__(
        self, recorded: RecordedProgram, weights: Mapping[str, Tensor], device: torch.device, step: int | None
    ) -> None:
        self.program: Program = recorded.program
        self.weights, self.device, self.step = dict(weights), device, step
        self.about, self.problems = recorded.about, recorded.problems
        self.inputs = {raw.name: _tensor(raw) for raw in recorded.samples if raw.role == "input"}
        self.outputs = {raw.name: _tensor(raw) for raw in recorded.samples if raw.role == "output"}
        self.labels = next((_tensor(raw) for raw in recorded.samples if raw.role == "label"), None)
        constants = {raw.name: _tensor(raw).to(device) for raw in recorded.constants}
        self.interpreter = Interpreter(self.program, constants)

    def run(
        self,
        inputs: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        weights: Mapping[str, Tensor] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Result:
        """Run once, without gradients; `interpreter` runs with them.

        Args:
            inputs: tensors in order, or by path; by default the recorded examples.
            weights: others than its own, such as edited ones.
            **options: `keep`, `replace`, `on_node`, `seed` as for `Interpreter.run`.

        Raises:
            ProgramError: as `Interpreter.run`.
        """
        with torch.no_grad():
            return self.interpreter.run(
                self.inputs if inputs is None else inputs,
                self.weights if weights is None else weights,
                device=self.device,
                **options,
            )

    def as_module(self, output: str | None = None, taps: Sequence[str] = ()) -> EditedModule:
        """The model as a `torch.nn.Module` of its tensor inputs in order, with gradients.

        Args:
            output: path of the output to give; by default the first that is a tensor of floating numbers.
            taps: nodes whose values hooks on `module.taps[node]` shall see, and may change.

        Raises:
            UsageError: there is no such node, or (when it runs) no such output.
        """
        edited = apply((), Subject(self.interpreter, self.weights, self.device), self.inputs)
        paths = [found.path for found in self.program.inputs if found.dtype]
        return EditedModule(edited, paths=paths, output=output, taps=taps)

    def check(self) -> Check:
        """Whether it reproduces the recorded outputs. Only weights that are those of the capture can tell."""
        if not self.outputs:
            return Check(None, {}, self.step, "no outputs were recorded")
        missing = [found.path for found in self.program.inputs if found.dtype and found.path not in self.inputs]
        if missing:
            return Check(None, {}, self.step, f"the input {missing[0]} was not recorded")
        if fingerprint(self.weights) != self.program.fingerprint:
            reason = "the weights are not those with which the model was captured"
            return Check(None, {}, self.step, reason)
        found = self.run().outputs
        differences = {path: difference(found[path], wanted) for path, wanted in self.outputs.items() if path in found}
        reproduces = differences.keys() == self.outputs.keys() and all(
            is_close(found[path], wanted) for path, wanted in self.outputs.items()
        )
        reason = "" if reproduces else f"outputs differ by more than {TOLERANCE:g} of their largest value"
        return Check(reproduces, differences, self.step, reason)


def load_model(
    run: Run | str | Path,
    step: int | None = None,
    device: torch.device | str | None = None,
    *,
    weights: str | Path | Mapping[str, Tensor] | None = None,
    upcast: bool = False,
    prefix: str = "",
) -> LoadedModel:
    """A run's model, ready to run; no code of whoever recorded it is needed, and none of theirs runs.

    Args:
        run: the run, or its folder.
        step: whose snapshot to take the weights from; by default the last one.
        device: where to run; by default the fastest that is there.
        weights: take them from here instead: a safetensors file, a checkpoint, tensors by name; see `weights.bind`.
        upcast: compute in float32 whatever the weights were in.
        prefix: left out of the names of `weights` that begin with it, such as "model.".

    Raises:
        ProgramError: no model was captured (the message says why), or the weights do not fit.
        SnapshotNotFound: there is no snapshot of that step.
        FileError: the snapshot, or the program's constants, are damaged.
    """
    run = open_run(run)
    recorded = read_recorded_program(run.path)
    if recorded is None:
        why = (
            "; ".join(program_problems(run.path)) or "none was captured: call rec.program(model, batch) when recording"
        )
        raise ProgramError(f"run {run.info.run_id} has no program: {why}")
    chosen = torch.device(device) if isinstance(device, torch.device) else pick_device(device)
    if weights is not None:
        bound = bind(recorded.program, weights, device=chosen, upcast=upcast, prefix=prefix)
        return LoadedModel(recorded, bound, chosen, None)
    steps = sorted({info.step for info in run.snapshots if info.problem is None})
    if not steps:
        what = "it has a program, but no weights to run with. Pass weights="
        raise SnapshotNotFound(f"run {run.info.run_id} has no snapshots: {what}")
    if step is None:
        step = steps[-1]
    snapshot = run.snapshot(step)
    return LoadedModel(recorded, bind(recorded.program, snapshot, device=chosen, upcast=upcast), chosen, step)


def _tensor(raw: RawTensor) -> Tensor:
    return tensor_from(raw.data, raw.dtype, raw.shape)
