"""Where an edit starts to matter: the difference of every node's value, in the order of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from explorer.inference.edits.apply import Edited
from explorer.storage.program import Node

if TYPE_CHECKING:
    import pandas as pd


def node_differences(edited: Edited, *, seed: int = 0) -> pd.DataFrame:
    """Run the original and the edited model, each on its inputs; compare each floating node's value.

    Returns:
        One row a node, in the order in which they run: node, op, module, relative_l2 (|after - before| / |before|,
        infinite where the original is all zero and the edited is not, NaN where the shapes differ), largest_change
        (of one element), same_shape.

    Raises:
        ProgramError: one of the two cannot be run.
    """
    import pandas as pd

    before = edited.original(keep={"all"}, seed=seed).kept
    modules = edited.subject.interpreter.program.modules
    rows: list[tuple[str, str, str, float, float, bool]] = []

    def compare(node: Node, value: object) -> None:
        old = before.get(node.name)
        if node.op == "input" or not isinstance(value, Tensor) or not value.is_floating_point():
            return
        if not isinstance(old, Tensor):
            return
        module = "" if node.module is None else modules[node.module].path
        same = old.shape == value.shape
        relative, largest = _difference(old, value) if same else (float("nan"), float("nan"))
        rows.append((node.name, node.op, module, relative, largest, same))

    edited.run(on_node=compare, seed=seed)
    return pd.DataFrame(rows, columns=["node", "op", "module", "relative_l2", "largest_change", "same_shape"])


def first_difference(table: pd.DataFrame) -> str | None:
    """The first node whose value differs at all, or None when the edit reaches nothing."""
    differs = table.loc[(table["largest_change"] != 0) | ~table["same_shape"], "node"]
    return None if differs.empty else str(differs.iloc[0])


def _difference(before: Tensor, after: Tensor) -> tuple[float, float]:
    if torch.equal(before, after) or not before.numel():
        return 0.0, 0.0
    wide = torch.float32 if before.device.type == "mps" else torch.float64
    old, new = before.to(wide), after.to(wide)
    change = torch.where(old == new, torch.zeros_like(old), new - old)
    size = float(torch.linalg.vector_norm(change))
    whole = float(torch.linalg.vector_norm(old))
    return size / whole if whole else float("inf") if size else 0.0, float(change.abs().max())
