"""In which mode dropout and normalisation were: said where a training or a validation had some in the other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import streamlit as st

from explorer.app.names import count_text, name_list

Modes = Mapping[str, Mapping[str, tuple[int, int]]]

# Phase, place of the count of the other mode in its pair, what is said, and what it may mean.
_PHASES: Final = (
    ("eval", 0, "In forwards without gradients (validations)", "training", "Call `model.eval()` before a validation"),
    ("train", 1, "In training steps", "evaluation", "Call `model.train()` after a validation"),
)


def say_modes(modes: Modes) -> None:
    """Say which modules were in the other mode than their phase; nothing where all were as they should be."""
    told = mode_texts(modes)
    if told:
        st.warning(
            "\n".join(f"- {text}" for text in told), title="Training and evaluation mode", icon=":material/tune:"
        )


def mode_texts(modes: Modes) -> list[str]:
    """Return Markdown for each phase that had modules in the other mode.

    Args:
        modes: `train` and `eval` to module to how often it was in training and in evaluation mode.

    >>> mode_texts({"train": {"drop": (9, 0)}, "eval": {"drop": (2, 0), "norm": (0, 2)}})[0].split(":")[0]
    'In forwards without gradients (validations) 1 module was in training mode'
    """
    told = []
    for phase, other, when, mode, advice in _PHASES:
        found = {name: counts for name, counts in modes.get(phase, {}).items() if counts[other]}
        if not found:
            continue
        named = name_list(
            [f"{name or 'model'} ({counts[other]:,} of {sum(counts):,})" for name, counts in found.items()]
        )
        was = "was" if len(found) == 1 else "were"
        told.append(
            f"{when} {count_text(len(found), 'module')} {was} in {mode} mode: {named}. {advice}, unless it is meant so."
        )
    return told
