"""How a model was captured, what is missing where it was not, and the lines that record it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app.model_shapes import ranges_text
from explorer.app.names import esc, plain
from explorer.inference.refused import refused_operators

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture
    from explorer.inference.modules import Program
    from explorer.reading.catalogue import RunInfo

_ROUTES: Final[Mapping[str, str]] = {
    "export": "captured by torch.export",
    "export-guards": "captured by torch.export, with checks of its sizes",
    "strict": "captured by torch.export in strict mode",
    "tape": "recorded as a tape of one run",
}
_MAX_REFUSED: Final = 5
_LINE: Final = "rec.program(model, example_inputs)   # or: with examples of your choice, before or after the loop"
_WATCH: Final = "rec.watch(model, optimizer)          # once, before the loop: captures with the first batch"


def about(info: RunInfo, model: Architecture) -> None:
    """Say what the model is and how it is known, and what is missing."""
    root = model.root
    parts = [f"**{esc(root.type or 'Model', 60)}**", f"{root.num_parameters:,} parameters"]
    if root.num_frozen:
        parts.append(f"{root.num_frozen:,} of them frozen")
    if root.num_buffers:
        parts.append(f"{root.num_buffers:,} values in buffers")
    count = len(model.rows) - 1
    parts.append(f"{count:,} module{'' if count == 1 else 's'}")
    if model.program is not None:
        parts += [f"{len(model.program.graph.nodes):,} operators", *captured(model.program)]
    st.markdown(" · ".join(parts))
    if model.program is None:
        _missing(info, model)
    else:
        _refused(model.program)


def details(model: Architecture) -> None:
    """Draw the button that opens how the model was captured."""
    if model.program is not None:
        with st.popover("How it was captured", type="tertiary", icon=":material/info:"):
            _details(model.program, model.sizes)


def meaning_of(reason: str) -> tuple[str, str]:
    """Return what a failed route means for the author of a model, and what PyTorch said, or ""."""
    meaning, _, detail = reason.partition(" [detail: ")
    return meaning, detail.removesuffix("]")


def captured(program: Program) -> list[str]:
    """Return how a program was captured, and whether it reproduces the model's own output, as Markdown."""
    how = f"{_ROUTES[program.route]} (torch {esc(program.torch, 40)})"
    found = [value for value in program.check.values() if value is not None]
    if not found:
        return [how, "never checked against the model's own output"]
    worst = max(found, key=lambda value: math.inf if value != value else value)
    if worst == 0:
        return [how, "reproduced the model's own output to the last bit"]
    return [how, f"differed from the model's own output by at most {worst:.2g} when it was captured"]


def _details(program: Program, sizes: Mapping[str, str]) -> None:
    lines = [f"- Rung reached: **{esc(program.route)}**, with torch {esc(program.torch, 40)}"]
    lines += [f"- At step **{program.step:,}**"] if program.step is not None else []
    lines += [f"- The training casts to **{esc(program.autocast, 40)}**"] if program.autocast else []
    for route, reason in program.why:
        meaning, detail = meaning_of(reason)
        lines.append(f"- {esc(route)} failed: {esc(meaning, 500)}")
        lines += [f"    - {esc(detail, 500)}"] if detail else []
    if not program.why:
        lines.append("- No rung above it failed")
    for path, value in program.check.items():
        what = esc(path or "output", 80)
        lines.append(
            f"- Output {what}: " + ("not checked" if value is None else f"largest difference {value:.3g} at capture")
        )
    varying = ranges_text(program, sizes)
    lines.append(f"- Sizes that may vary: {esc(varying, 300)}" if varying else "- All sizes are those of the example")
    if program.ties:
        lines += [f"- Tied: {esc(' = '.join(plain(name, 80) for name in names), 300)}" for names in program.ties[:5]]
    st.markdown("\n".join(lines))
    st.caption("The page Inference runs it again and compares it with the recorded output each time.")


def _refused(program: Program) -> None:
    """Say which of the operators that are drawn would not be run."""
    found = refused_operators(program)
    if not found:
        return
    listed = [f"**{esc(name, 80)}**" + (f" ({esc(source, 80)})" if source else "") for name, source in found.items()]
    more = f" and {len(found) - _MAX_REFUSED:,} more" if len(found) > _MAX_REFUSED else ""
    st.warning(
        f"It holds {', '.join(listed[:_MAX_REFUSED])}{more}, which {'is' if len(found) == 1 else 'are'} not on the "
        "list of operators that compute new tensors and do nothing else. It is drawn as the file says, and nothing of "
        "it runs. The recorder writes no such program: do not trust this run unless you know where it is from. With "
        "its code at hand, record it again, or start the app with `--factory package.module:make_model`.",
        title="The page Inference does not run this program",
        icon=":material/block:",
    )


def _missing(info: RunInfo, model: Architecture) -> None:
    """Say what is not known without a program, and how to record it."""
    name = esc(info.name or info.run_id, 80)
    if model.problems:
        st.warning(
            "\n".join(f"- {esc(problem, 800)}" for problem in model.problems[:5])
            + "\n\nThe training itself was recorded as usual."
            + (" The modules below are those that were recorded besides." if len(model.rows) > 1 else ""),
            title="The computation of this model "
            + ("cannot be read" if model.problems[0].startswith("program/") else "could not be captured"),
            icon=":material/broken_image:",
        )
        return
    known = {
        "watch": "The modules are those that `rec.watch` saw. ",
        "snapshot": "The tensors are those of the first snapshot, without the classes of modules. ",
    }.get(model.origin, "")
    st.info(
        f"{known}{name} has not captured what its model computes, so there is no graph, no shape of an output, no "
        "source line and no time. `rec.watch(model, optimizer)` captures it with the first batch of the training, "
        "`rec.program(model, example_inputs)` with examples of your choice.",
        title="No graph is recorded" if known else "Nothing is recorded of the model",
        icon=":material/account_tree:",
    )
    st.code(f"{_WATCH}\n{_LINE}", language="python")
