"""A loaded model with a recipe, in a script or a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from explorer.errors import SnapshotNotFound
from explorer.inference.edits.apply import Edited, Subject, apply
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.edits.weight_edits import Weights
from explorer.inference.loading import LoadedModel
from explorer.inference.weights import bind
from explorer.reading.runs import Run, open_run


class RunSnapshots:
    """The weights of other steps of a run, and of runs beside it in the same folder, read when an edit needs them."""

    def __init__(self, model: LoadedModel, run: Run) -> None:
        self._model, self._run = model, run

    def weights(self, run: str, step: int | None) -> Weights:
        """As `edits.weight_edits.Snapshots`. Raises RunNotFound, SnapshotNotFound, FileError."""
        found = self._run
        if run:
            beside = Path(self._run.path).parent
            # Looked up among what is there: the id may come from a link that anybody wrote.
            path = next((path for path in beside.iterdir() if path.name == run), None)
            if path is None:
                raise SnapshotNotFound(f"the edit takes weights of run {run!r}, which is not in {beside}")
            found = open_run(path)
        if step is None:
            steps = [info.step for info in found.snapshots if info.problem is None]
            if not steps:
                raise SnapshotNotFound(f"run {found.info.run_id} has no snapshots")
            step = min(steps)
        return bind(self._model.program, found.snapshot(step), device=self._model.device)


def edit_model(
    model: LoadedModel,
    recipe: Sequence[Mapping[str, Any]],
    inputs: Mapping[str, Tensor] | None = None,
    *,
    run: Run | str | Path | None = None,
) -> Edited:
    """Apply a recipe to a loaded model, which stays as it is; `.run()` then gives the edited outputs.

    Args:
        model: from `load_model`.
        recipe: edits as plain data, such as `{"edit": "scale", "target": "fc.weight[3]", "factor": 0.5}`.
        inputs: by path; None is the recorded examples.
        run: where edits find the weights of other steps; None: there are none.

    Raises:
        UsageError: an edit is none, or names something that is not there.
        ProgramError: the model cannot run where a value from elsewhere is needed.
    """
    more = {} if run is None else {"snapshots": RunSnapshots(model, open_run(run))}
    subject = Subject(model.interpreter, model.weights, model.device, model.inputs or None, **more)
    return apply(parse_recipe(list(recipe)), subject, model.inputs if inputs is None else inputs)
