"""Capture a model: the routes one after the other, then a check that the program gives what the model gives.

Runs on the caller's thread: export in another thread puts back the random state that the training uses meanwhile.
The training sees none of it: random state, modes, hooks, gradients and the caches of the compiler stay as they are.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from explorer.errors import ProgramError
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.cloning import Stage, stage
from explorer.recording.program.encoding import leaves, output_paths, user_name
from explorer.recording.program.sizes import settle_sizes
from explorer.recording.program.exporting import Constants, Document, export
from explorer.recording.program.tape import record_tape
from explorer.storage.layout import FORMAT_VERSION
from explorer.storage.program import parse_program

Route = Callable[[Stage, Sequence[Any], Mapping[str, Any]], tuple[Document, Constants]]
_ROUTES: dict[str, Route] = {
    "export": export,
    "export-guards": lambda found, args, kwargs: export(found, args, kwargs, oblivious=False),
    "strict": lambda found, args, kwargs: export(found, args, kwargs, strict=True),
    "tape": record_tape,
}
# Other kernels for the same operators round differently, at most so much of the largest output.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Capture:
    """What was captured, or why not.

    Attributes:
        document: as `storage.program.parse_program` reads it; None when every route failed.
        constants: tensors that belong to the program, by name.
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
    """Capture what a model computes in evaluation mode when it is called with these inputs. Never raises for a model."""
    began_s = time.thread_time()
    why: list[tuple[str, str]] = []
    with _unseen():
        try:
            staged, plain_args, plain_kwargs = stage(model, args, kwargs)
        except Exception as error:
            why.append(("copy", _reason(error)))
            return Capture(None, {}, [], {}, why, time.thread_time() - began_s)
        inputs = [_on_cpu(leaf) for leaf in leaves(plain_args, plain_kwargs)]
        for name, route in _ROUTES.items():
            try:
                document, constants = route(staged, plain_args, plain_kwargs)
                document |= _facts(name, why, step)
                check = _Check(document, constants, staged, plain_args, plain_kwargs)
                outputs = check.run_model(check.leaves)
                document["check"] = check.differences(outputs)
                document["symbols"] = settle_sizes(
                    document["symbols"], document["inputs"], check.leaves, check.run_model, check.run_program, agree
                )
            except Exception as error:
                why.append((name, _reason(error)))
                continue
            shown = {path: _on_cpu(value) for path, value in outputs.items()}
            kept = {constant: _on_cpu(value) for constant, value in constants.items()}
            return Capture(document, kept, inputs, shown, why, time.thread_time() - began_s)
    return Capture(None, {}, inputs, {}, why, time.thread_time() - began_s)


def _facts(route: str, why: Sequence[tuple[str, str]], step: int | None) -> Document:
    autocast = next((kind for kind in ("cuda", "cpu") if torch.is_autocast_enabled(kind)), None)
    return {
        "format": FORMAT_VERSION,
        "route": route,
        "why": [list(pair) for pair in why],
        "torch": torch.__version__,
        "step": step,
        "autocast": str(torch.get_autocast_dtype(autocast)).removeprefix("torch.") if autocast else "",
    }


class _Check:
    """Program and model side by side, in evaluation mode, without autocast, from the same random state."""

    def __init__(
        self, document: Document, constants: Constants, staged: Stage, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        # Sizes are what is to be found out here, so none is refused.
        open_sizes = {name: [0, None] for name in document["symbols"]}
        self._program = parse_program({**document, "symbols": open_sizes, "check": {}})
        self._interpreter = Interpreter(self._program, constants)
        self._staged = staged
        self.leaves, self._spec = pytree.tree_flatten((list(args), dict(kwargs)))
        self._device = next((leaf.device for leaf in self.leaves if isinstance(leaf, Tensor)), torch.device("cpu"))
        named = (
            *staged.state_dict(keep_vars=True).items(),
            *staged.named_parameters(remove_duplicate=False),
            *staged.named_buffers(remove_duplicate=False),
        )
        self._weights = {user_name(name): tensor for name, tensor in named}

    def run_model(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """What the model gives, by output path."""
        torch.manual_seed(0)
        with _exact():
            output = self._staged(*pytree.tree_unflatten(list(inputs), self._spec))
        return dict(zip(output_paths(output), leaves([output], {}), strict=True))

    def run_program(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """What the program gives, by output path."""
        given = {found.path: leaf for found, leaf in zip(self._program.inputs, inputs, strict=True)}
        with _exact():
            return self._interpreter.run(given, self._weights, device=self._device).outputs

    def differences(self, outputs: Mapping[str, Any]) -> dict[str, float | str | None]:
        """The largest difference of the program from the model's outputs for the example, by output path.

        Raises:
            ProgramError: the program does not run, or gives something else than the model.
        """
        found = self.run_program(self.leaves)
        if not agree(found, outputs):
            path = next(path for path in found if not _close(found[path], outputs.get(path)))
            raise ProgramError(f"the program gives another output {path} than the model")
        return {path: difference(value, outputs[path]) for path, value in found.items()}


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def agree(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether two outputs have the same paths, and values that differ by rounding at most."""
    return found.keys() == wanted.keys() and all(_close(value, wanted[path]) for path, value in found.items())


def _close(one: Any, other: Any) -> bool:  # noqa: ANN401 - whatever a model gives
    apart = difference(one, other)
    return apart is None or apart <= _TOLERANCE * max(1.0, largest(other))


def difference(one: Any, other: Any) -> float | None:  # noqa: ANN401 - whatever a model gives
    """The largest absolute difference of two outputs; infinite where they are no tensors of one shape; None for texts.

    Two NaN, or two equal infinities, do not differ.
    """
    if isinstance(one, bool | int | float) and isinstance(other, bool | int | float):
        return abs(float(one) - float(other))
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return None if one == other else math.inf
    if one.shape != other.shape:
        return math.inf
    if not one.numel() or torch.equal(one, other):
        return 0.0
    wide = torch.complex128 if one.is_complex() or other.is_complex() else torch.float64
    first, second = one.detach().cpu().to(wide), other.detach().cpu().to(wide)
    apart = (first - second).abs()
    apart[(first == second) | (first.isnan() & second.isnan())] = 0.0
    return math.inf if bool(apart.isnan().any()) else float(apart.max())


def largest(value: Any) -> float:  # noqa: ANN401
    """The largest finite magnitude in an output; 0 where there is none."""
    if not isinstance(value, Tensor) or not value.numel():
        return 0.0
    magnitudes = value.detach().abs().to(torch.float64)
    finite = magnitudes[magnitudes.isfinite()]
    return float(finite.max()) if finite.numel() else 0.0


def _on_cpu(value: Any) -> Any:  # noqa: ANN401
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """Keep what a capture does from whoever trains: random state, printed graphs, warnings, logs."""
    level = logging.root.manager.disable
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    logging.disable(logging.CRITICAL)
    try:
        with (
            torch.random.fork_rng(devices=devices),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"[:300]
