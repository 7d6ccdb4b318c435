"""A control for an edit: a change of the same size at random, to tell what this edit does from what any edit does."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.checkpoint_scrubber import as_array, chosen_output
from explorer.inference.edits.activation_edits import Replace, part_index
from explorer.inference.edits.apply import Edited
from explorer.inference.edits.kinds.activations import ActivationEdit
from explorer.inference.edits.kinds.places import Part, parse_part
from explorer.inference.edits.recipe import Recipe
from explorer.inference.edits.weight_edits import Weights, changed_names


def control(edited: Edited, recipe: Recipe, *, seed: int = 0) -> Edited:
    """The same changes somewhere else: in each tensor and in each edited node exactly as large (L2), at random places.

    Weights: where an edit changed some rows of dimension 0, its changes move to other rows, drawn at random; where it
    changed all, the changes of the elements trade places. Activations: the changes of units, channels, positions or
    heads move to others, drawn at random. Inputs: changes of single elements trade places; of a text whose length
    changed there is no such control.

    Raises:
        UsageError: an input changed its shape.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = control_weights(
        edited.subject.weights, edited.weights, generator, edited.subject.interpreter.program.ties
    )
    changed = {path: _moved(edited.given[path], value, generator, "the input") for path, value in edited.inputs.items()}
    parts: dict[str, set[str]] = {}
    for edit in recipe:
        if isinstance(edit, ActivationEdit):
            parts.setdefault(edit.node, set()).add(edit.part)
    replace = {}
    for node, function in edited.replace.items():
        # Different parts of one node: their changes move as those of all units do.
        part = parse_part(next(iter(parts[node]))) if len(parts[node]) == 1 else None
        replace[node] = control_replacement(function, part, int(torch.randint(2**31, (1,), generator=generator)))
    return Edited(edited.subject, changed, weights, replace, edited.given)


def control_outputs(
    edited: Edited,
    recipe: Recipe,
    num_seeds: int,
    *,
    max_s: float = 2.0,
    max_bytes: int = 64 << 20,
    on_run: Callable[[int], None] | None = None,
) -> NDArray[np.floating]:
    """The first floating output of controls with the seeds 0, 1, ...: one of them may be as lucky as the edit.

    Args:
        edited: the model and its inputs.
        recipe: that was applied.
        num_seeds: how many, from 1; fewer where time or memory ends before, but at least one.
        max_s: time after which no further control is run.
        max_bytes: of the answer.
        on_run: called with the number of those that are done.

    Returns:
        [seeds, ...], each as the model's output.

    Raises:
        UsageError: as `control`.
    """
    if num_seeds < 1:
        raise UsageError(f"there should be at least one control; found {num_seeds}")
    began_s = time.monotonic()
    found: list[NDArray[np.floating]] = []
    for seed in range(num_seeds):
        found.append(as_array(chosen_output(control(edited, recipe, seed=seed).run().outputs)))
        if on_run is not None:
            on_run(len(found))
        if time.monotonic() - began_s >= max_s or (len(found) + 1) * found[0].nbytes > max_bytes:
            break
    return np.stack(found)


def control_weights(
    before: Weights, after: Weights, generator: torch.Generator, ties: tuple[tuple[str, ...], ...] = ()
) -> dict[str, Tensor]:
    """Weights whose changes are those from `before` to `after`, moved to other rows or elements of each tensor."""
    moved = dict(before)
    for name in changed_names(before, after):
        twin = next((group[0] for group in ties if name in group), name)
        if twin != name and twin in before:
            moved[name] = moved[twin]
        else:
            moved[name] = _moved(before[name], after[name], generator, name)
    return moved


def control_replacement(function: Replace, part: Part | None, seed: int) -> Replace:
    """A function of a node's value that makes the same changes as `function`, at other units drawn at random."""

    def replace(value: Tensor) -> Tensor:
        change = function(value) - value
        generator = torch.Generator().manual_seed(seed)
        if part is None:
            units = 1 if value.dim() >= 4 else value.dim() - 1
            order = torch.randperm(value.shape[units], generator=generator).to(value.device)
            return value + change.index_select(units, order)
        view, index = part_index(value, part)
        dim = len(index) - 1
        others = _others(set(part.indices), view.shape[dim], len(part.indices), generator).to(value.device)
        new = view.clone()
        place = (*index[:-1], others)
        new[place] = view[place] + change.reshape(view.shape)[index]
        return new.reshape(value.shape)

    return replace


def _moved(before: Tensor, after: Tensor, generator: torch.Generator, what: str) -> Tensor:
    if before.shape != after.shape:
        raise UsageError(
            f"a control needs {what} to keep its shape; it went from {tuple(before.shape)} to {tuple(after.shape)}"
        )
    if torch.equal(before, after):
        return before
    if not before.is_floating_point():
        return _tokens_moved(before, after, generator)
    change = after - before
    if change.dim() > 1:
        rows = change.flatten(1).abs().amax(dim=1).nonzero().flatten()
        if len(rows) < len(change):
            others = _others(set(rows.tolist()), len(change), len(rows), generator).to(change.device)
            return before.index_add(0, others, change[rows])
    order = torch.randperm(change.numel(), generator=generator).to(change.device)
    return before + change.flatten()[order].reshape(change.shape)


def _tokens_moved(before: Tensor, after: Tensor, generator: torch.Generator) -> Tensor:
    """The new tokens at other positions, drawn at random, of each sequence."""
    places = (before != after).reshape(-1, before.shape[-1]).any(dim=0).nonzero().flatten()
    others = _others(set(places.tolist()), before.shape[-1], len(places), generator).to(before.device)
    return before.index_copy(-1, others, after.index_select(-1, places))


def _others(taken: set[int], size: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` different numbers below `size`, at random, none of those taken as long as others are left."""
    free = [index for index in torch.randperm(size, generator=generator).tolist() if index not in taken]
    used = [index for index in torch.randperm(size, generator=generator).tolist() if index in taken]
    return torch.tensor((free + used)[:count], dtype=torch.long)
