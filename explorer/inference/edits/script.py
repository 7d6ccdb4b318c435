"""A recipe as a short Python script that anyone with the run can repeat."""

from __future__ import annotations

from pathlib import Path

from explorer.inference.edits.recipe import Recipe
from explorer.inference.weights_file import WeightsFile


def script(
    recipe: Recipe,
    run_path: str | Path,
    step: int,
    *,
    example: int | None = None,
    weights: WeightsFile | None = None,
) -> str:
    """The script. Names are written as Python literals, and edits hold printable text only, so nothing breaks out.

    Args:
        recipe: what is done.
        run_path: the run's folder.
        step: of the weights.
        example: number of the recorded example; None is all of them.
        weights: a file that they come from, instead of the step.
    """
    edits = "".join(f"    {edit.to_dict()!r},  # {edit.describe()}\n" for edit in recipe)
    source = f"step={step}"
    if weights is not None:
        source = f"weights={weights.path!r}" + (f", prefix={weights.prefix!r}" if weights.prefix else "")
    chosen = "" if example is None else f", example={example}"
    return f'''"""An edited run, exported by Experiment Explorer."""

import explorer

run = explorer.open_run({str(run_path)!r})
model = explorer.load_model(run, {source}, device="cpu")
recipe = [
{edits}]
edited = explorer.apply_recipe(recipe, model, run{chosen})
before, after = edited.original().outputs, edited.run().outputs
for path in before:
    print(path or "output", before[path], after[path], sep="\\n")
'''
