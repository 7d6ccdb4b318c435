"""Whether the model that runs is the one that was recorded, and how it was captured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.app import inference_session
from explorer.app.inference_scene import input_name
from explorer.app.model_capture import meaning_of
from explorer.app.names import esc

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene
    from explorer.inference.plain_model import PlainModel

_ROUTES: Final[Mapping[str, str]] = {
    "export": "captured by torch.export",
    "export-guards": "captured by torch.export, for inputs like the example",
    "strict": "captured by torch.export (strict)",
    "tape": "taped: one path through the code, for inputs like the example",
}


def banner(scene: Scene) -> None:
    """Say whether the recorded outputs are met by the unedited model."""
    text, good = verdict(scene, inference_session.ask(scene, "check"))
    icon = ":material/check_circle:" if good else ":material/info:" if good is None else ":material/warning:"
    line = f"{icon} {esc(text, 400)} · {esc(how_captured(scene.model), 400)}"
    if good is False:
        st.warning(line[len(icon) + 1 :], title="Not the recorded output", icon=icon)
    else:
        st.caption(f":green[{icon}]{line[len(icon) :]}" if good else line)
    if scene.model.widened:
        st.caption(
            "It was recorded in half precision and runs here in float32: outputs differ by the rounding of the former."
        )
    for problem in scene.model.problems[:3]:
        st.caption(f":material/broken_image: {esc(problem, 300)}")


def verdict(scene: Scene, check: Mapping[str, Any]) -> tuple[str, bool | None]:
    """A sentence, and whether the model reproduces what was recorded; None where these weights cannot tell.

    `check` is the answer of the sandbox's request of that name.
    """
    program = scene.model.program
    if not scene.model.outputs:
        return "The model's own outputs were not recorded, so nothing can be compared", None
    largest, close = check["largest"], check["close"]
    if largest is None and scene.file is not None:
        return f"The weights are those of {scene.file.name}; the outputs were recorded with others", None
    if largest is None:
        at = "another step" if program.step is None else f"step {program.step:,}"
        differences = [found for found in program.check.values() if found is not None]
        recorded = f"The outputs were recorded with the weights of {at}"
        if not differences:
            return f"{recorded}, so nothing can be compared at this one", None
        return f"{recorded} and were reproduced there, with a largest difference of {_number(max(differences))}", None
    if close and scene.model.widened:
        return f"Agrees with the recorded output up to half precision (largest difference {_number(largest)})", True
    if close:
        return f"Reproduces the recorded output (largest difference {_number(largest)})", True
    if math.isinf(largest):
        return (
            "The outputs are not those that were recorded: another shape, or not finite. Do not trust this page",
            False,
        )
    return (
        f"The outputs differ from those that were recorded by up to {_number(largest)}. Do not trust this page",
        False,
    )


def how_captured(model: PlainModel) -> str:
    """Route and the sizes that may vary, in one line."""
    if model.factory:
        return (
            f"runs your own code, {model.factory}, as given on the command line; evaluation mode; outputs of "
            "modules can be seen and edited, single operators cannot"
        )
    program = model.program
    reasons = f" · a tape because {meaning_of(program.why[0][1])[0]}" if program.why and program.route == "tape" else ""
    route = f"{_ROUTES[program.route]} with PyTorch {program.torch}, evaluation mode"
    return f"{route} · {sizes_taken(model)}{reasons}"


def sizes_taken(model: PlainModel) -> str:
    """The sizes of inputs that the model takes, each dimension by its name: `batch: may vary; length: up to 64`."""
    tensors = [found for found in model.program.inputs if found.dtype]
    told = []
    for found in tensors:
        recorded = model.inputs.get(found.path)
        names = _dim_names(len(found.shape), "float" in found.dtype, model.kind)
        sizes = []
        for place, (name, dim) in enumerate(zip(names, found.shape, strict=True)):
            # Capturing bounds channels by what it happened to need: no other number than the recorded one fits.
            is_known = name == "channels" and recorded is not None and place < recorded.ndim
            size = str(recorded.shape[place]) if is_known and recorded is not None else _dim(model.program.symbols, dim)
            sizes.append(f"{name}: {size}")
        text = "; ".join(sizes) or "one number"
        told.append(text if len(tensors) == 1 else f"{input_name(found.path)} ({text})")
    return "takes " + ", ".join(told)


def _dim(symbols: Mapping[str, tuple[int, int | None]], dim: int | str) -> str:
    if isinstance(dim, int):
        return str(dim)
    low, high = symbols.get(dim, (0, None))
    # Not "any": the program leaves it open, and the model itself may still refuse some.
    return "may vary" if high is None else f"up to {high}" if low <= 1 else f"{low} to {high}"


def _dim_names(rank: int, is_float: bool, kind: str) -> list[str]:
    """What dimensions are called, the batch first."""
    if rank == 4:
        return ["batch", "channels", "height", "width"]
    if rank == 3 and kind == "image":
        return ["batch", "height", "width"]
    if rank == 2:
        return ["batch", "features" if is_float else "length"]
    if rank == 3 and is_float:
        return ["batch", "length", "features"]
    return [f"dimension {place}" if place else "batch" for place in range(rank)]


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"
