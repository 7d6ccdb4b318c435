"""The Python lines that do what a recipe does, with the public interface. Needs no torch."""

from __future__ import annotations

from explorer.inference.edits.recipe import Recipe, to_list


def script(
    run_path: str,
    step: int,
    recipe: Recipe,
    *,
    example: int | None = None,
    device: str = "cpu",
    drawn: str = "",
) -> str:
    """Return a script that runs a recorded step as it was and edited.

    Args:
        run_path: folder of the run.
        step: of the weights.
        recipe: the edits.
        example: number of the recorded example; None is all of them.
        device: where to run.
        drawn: further lines that change the tensors in `inputs` before the recipe does.

    Returns:
        A script that leaves the outputs by path in `before` and `after`.
    """
    lines = ["from explorer import load_model", "from explorer.inference.editing import edit_model", ""]
    lines += [f"run = {run_path!r}", f"model = load_model(run, step={step}, device={device!r})"]
    lines.append("recipe = [")
    lines += [f"    {edit!r}," for edit in to_list(recipe)]
    lines.append("]")
    if example is None:
        lines.append("inputs = dict(model.inputs)")
    else:
        lines.append(f"inputs = {{path: value[{example}:{example + 1}] for path, value in model.inputs.items()}}")
    lines.append("before = model.run(inputs).outputs")
    lines += drawn.splitlines()
    lines += ["after = edit_model(model, recipe, inputs, run=run).run().outputs", ""]
    lines += ["for path, value in before.items():", "    print(path, value, after[path], sep='\\n')"]
    return "\n".join(lines) + "\n"
