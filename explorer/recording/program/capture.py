"""Capture a model: the routes one after the other, then a check that the program gives what the model gives.

Runs on the caller's thread: export in another thread puts back the random state that the training uses meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from explorer.recording.program.checking import Check
from explorer.recording.program.encoding import leaves
from explorer.recording.program.exporting import Constants, Document, export
from explorer.recording.program.reasons import reason_of
from explorer.recording.program.staging import Stage, stage
from explorer.recording.program.tape import record_tape
from explorer.recording.program.unnoticed import unnoticed
from explorer.storage.layout import FORMAT_VERSION

Route = Callable[[Stage, Sequence[Any], Mapping[str, Any]], Iterator[tuple[Document, Constants]]]

_ROUTES: Final[dict[str, Route]] = {
    "export": export,
    "export-guards": lambda found, args, kwargs: export(found, args, kwargs, oblivious=False),
    "strict": lambda found, args, kwargs: export(found, args, kwargs, strict=True),
    "tape": record_tape,
}


@dataclass(frozen=True)
class Capture:
    """What was captured, or why not.

    Attributes:
        document: as `storage.program_document.parse_program` reads it; None when every route failed.
        constants: tensors that belong to the program, by name; on the CPU.
        inputs: the example's leaves, in the program's order; tensors on the CPU, or plain values.
        outputs: what the model gave for them in evaluation mode, by output path; tensors on the CPU, or numbers.
        why: (route, reason) of each route that failed.
        took_s: CPU seconds of this thread.
    """

    document: Document | None
    constants: Constants
    inputs: list[Any]
    outputs: dict[str, Any]
    why: list[tuple[str, str]]
    took_s: float


def capture(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, step: int | None = None) -> Capture:
    """Capture what a model computes in evaluation mode when it is called with these inputs.

    The model, its tensors, and whatever a training could notice stay as they are. Raises for no fault of a model.
    """
    began_s = time.thread_time()
    why: list[tuple[str, str]] = []
    inputs: list[Any] = []
    autocast = _autocast()
    with unnoticed():
        try:
            staged, plain_args, plain_kwargs = stage(model, args, kwargs)
            inputs = [on_cpu(leaf) for leaf in leaves(plain_args, plain_kwargs)]
        except Exception as error:
            why.append(("copy", reason_of(error)))
            return Capture(None, {}, inputs, {}, why, time.thread_time() - began_s)
        for name, route in _ROUTES.items():
            reason = "it gave nothing"
            try:
                for document, constants in route(staged, plain_args, plain_kwargs):
                    document |= {"route": name, "why": [list(pair) for pair in why], "step": step}
                    document |= {"format": FORMAT_VERSION, "torch": torch.__version__, "autocast": autocast}
                    try:
                        outputs = _checked(document, constants, staged, plain_args, plain_kwargs)
                    except Exception as error:
                        reason = reason_of(error, name)
                        continue
                    shown = {path: on_cpu(value) for path, value in outputs.items()}
                    kept = {constant: on_cpu(value) for constant, value in constants.items()}
                    return Capture(document, kept, inputs, shown, why, time.thread_time() - began_s)
            except Exception as error:
                reason = reason_of(error, name)
            why.append((name, reason))
    return Capture(None, {}, inputs, {}, why, time.thread_time() - began_s)


def _checked(
    document: Document, constants: Constants, staged: Stage, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The model's own outputs for the example; what the comparison with the program found is put into the document.

    Raises:
        ProgramError: it is no program that may run, or gives something else than the model.
    """
    check = Check(document, constants, staged, args, kwargs)
    outputs = check.run_model(check.leaves)
    document["check"] = check.differences(outputs)
    document["fingerprint"] = check.fingerprint
    if (tried_on := check.on_cpu()) is not None:
        tried_on.settle_sizes(document)
    return outputs


def _autocast() -> str:
    """What the training casts to where the capture was asked for, or ""."""
    kind = next((kind for kind in ("cuda", "cpu", "mps") if torch.is_autocast_enabled(kind)), None)
    return "" if kind is None else str(torch.get_autocast_dtype(kind)).removeprefix("torch.")


def on_cpu(value: Any) -> Any:  # noqa: ANN401
    """A copy of a tensor on the CPU; other values as they are."""
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value
