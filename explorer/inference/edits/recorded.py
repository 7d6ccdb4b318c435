"""Recipes on recorded runs: the model of a step, its recorded examples, and the weights of other steps and runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from explorer.errors import SnapshotNotFound
from explorer.inference.edits.apply import Edited, Subject, apply
from explorer.inference.edits.kinds.fields import Edit
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.edits.weight_edits import Weights
from explorer.inference.loading import LoadedModel
from explorer.inference.weights import bind
from explorer.reading.catalogue import Catalogue
from explorer.reading.runs import Run, open_run

MAX_HELD: Final = 3


class RunSnapshots:
    """The weights of other steps of a run, and of other runs in the same folder of runs; the last ones are kept.

    Args:
        run: the run at hand.
        model: what the weights must fit, and the device that they are brought to.
    """

    def __init__(self, run: Run, model: LoadedModel) -> None:
        self._run, self._program, self._device = run, model.program, model.device
        self._held: OrderedDict[tuple[str, int | None], Weights] = OrderedDict()

    def weights(self, run: str, step: int | None) -> Weights:
        """As `weight_edits.Snapshots`.

        Raises:
            RunNotFound: the folder of runs has no run of that id.
            SnapshotNotFound: the run has no snapshot of that step, or none at all.
            ProgramError: they do not fit the model.
            DamagedFile: they cannot be read.
        """
        if (run, step) not in self._held:
            found = self._run if not run else open_run(Catalogue(self._run.path.parent).look(run))
            self._held[run, step] = bind(self._program, found.snapshot(_step(found, step)), device=self._device)
            while len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end((run, step))
        return self._held[run, step]


def subject_of(model: LoadedModel, run: Run) -> Subject:
    """A loaded model for recipes: its recorded examples are the probe batch."""
    probe = {path: value for path, value in model.inputs.items() if isinstance(value, Tensor) and value.dim()}
    return Subject(model.interpreter, model.weights, model.device, probe or None, RunSnapshots(run, model))


def apply_recipe(
    recipe: Sequence[Edit | Mapping[str, Any]],
    model: LoadedModel,
    run: Run | str | Path,
    *,
    example: int | None = None,
    inputs: Mapping[str, Tensor] | None = None,
) -> Edited:
    """Apply a recipe to a recorded model; the model stays as it is.

    Args:
        recipe: edits, or the same as plain data.
        model: of `load_model`.
        run: the run that the model is of, for edits that need other steps.
        example: number of the recorded example to run; None is all of them.
        inputs: by path, instead of a recorded example.

    Returns:
        What can be run: `.run()` is the edited model on the edited inputs, `.original()` as it was.

    Raises:
        UsageError: an edit is not one, names something that is not there, or cannot work on it.
        ProgramError: the model cannot run where a value from elsewhere is needed.
    """
    subject = subject_of(model, open_run(run))
    given = inputs if inputs is not None else model.inputs if example is None else subject.example(example)
    return apply(parse_recipe(list(recipe)), subject, given)


def _step(run: Run, step: int | None) -> int:
    if step is not None:
        return step
    steps = [info.step for info in run.snapshots if info.problem is None]
    if not steps:
        raise SnapshotNotFound(f"run {run.info.run_id} has no snapshots")
    return min(steps)
