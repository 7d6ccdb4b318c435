"""The kinds of tensors that a run records, in words; and what pages about them say when nothing was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import live
from explorer.app.caching import tensor_store
from explorer.app.names import esc, run_labels

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

KINDS: Final = {"param": "Parameters", "grad": "Gradients", "update": "Updates", "activation": "Activations"}
LABELS: Final = "labels"
"""The kind of the classes of batches, which are counted and no values of a tensor."""
ONE: Final = {"param": "parameter", "grad": "gradient", "update": "update", "activation": "activation"}
LINES: Final = """rec = Recorder("my-training")
rec.watch(model, optimizer)   # once, before the loop
rec.log({"train/loss": loss}, step=step)   # as usual, in the loop"""


def tensors_of(infos: Sequence[RunInfo], *, with_labels: bool = False) -> dict[str, list[str]]:
    """Return the names of recorded tensors by kind, in the order of the model of the first run that has them.

    Kinds without a tensor are left out, and so are the labels of batches unless they are asked for.
    """
    found: dict[str, dict[str, None]] = {kind: {} for kind in (*KINDS, *([LABELS] if with_labels else []))}
    for info in infos:
        for key in tensor_store().names(info.path):
            if key.kind in found:
                found[key.kind][key.name] = None
    return {kind: list(names) for kind, names in found.items() if names}


def not_recorded(infos: Sequence[RunInfo], page: str) -> None:
    """Say that there is no tensor of the selected runs, and what to do; look again while one runs.

    Where files of tensors are damaged, it was recorded: then only they are named.
    """

    def look(now: list[RunInfo]) -> None:
        if tensors_of(now):
            st.rerun()

    if say_problems(infos):
        live.follow(infos, look, "The look for tensors")
        return
    running = any(info.state == "running" for info in infos)
    which = "this run" if len(infos) == 1 else f"any of these {len(infos)} runs"
    st.info(
        f"{esc(page)} shows what is inside the model, and that was not recorded in {which}: call "
        "`rec.watch(model, optimizer)` once before the training loop."
        + (" What a running training records appears here." if running else ""),
        title="No tensors recorded",
        icon=":material/science:",
    )
    st.code(LINES, language="python")
    live.follow(infos, look, "The look for tensors")


def say_problems(infos: Sequence[RunInfo]) -> bool:
    """Name the files of tensors that cannot be used; return whether there are any. What they hold is not drawn."""
    found = [(info, problem) for info in infos for problem in tensor_store().problems(info.path)]
    if not found:
        return False
    labels = run_labels(infos)
    named = "  \n".join(f"{esc(labels[info.run_id])}: {esc(problem, 200)}" for info, problem in found[:3])
    more = f"  \nand {len(found) - 3:,} more" if len(found) > 3 else ""
    st.warning(named + more, title="Samples are missing from these charts", icon=":material/broken_image:")
    return True
