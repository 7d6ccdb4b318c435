"""The child process of a session, and the answers that it has given: the same question is asked once.

torch is never imported here; the model runs in `explorer.inference.sandbox`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.errors import ExplorerError
from explorer.inference.edits.recipe import Recipe, to_list
from explorer.inference.plain_model import PlainModel, plain_weights, read_plain_model
from explorer.inference.sandbox.session import Sandbox
from explorer.reading.runs import open_run

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

Where = tuple[str, int | None]

_MAX_ANSWERS: Final = 64
_MAX_ANSWER_BYTES: Final = 256 << 20
_TIME_LIMIT_S: Final = 60.0
_ANSWERS: Final = "inference.answers"


class _Answers:
    """Answers and failures of one session, by question; the oldest go first."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the sandbox answers
        """The answer that is held, or `ask()`; an error is raised again until `forget_failures`."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                found = self._held[key]
                if isinstance(found, ExplorerError):
                    raise found
                return found
        try:
            found = ask()
        except ExplorerError as error:
            self._put(key, error)
            raise
        self._put(key, found)
        return found

    def forget_failures(self) -> None:
        with self._lock:
            self._held = OrderedDict((k, v) for k, v in self._held.items() if not isinstance(v, ExplorerError))

    def _put(self, key: str, found: object) -> None:
        with self._lock:
            self._held[key] = found
            sizes = {held: _num_bytes(value) for held, value in self._held.items()}
            while len(self._held) > 1 and (len(self._held) > _MAX_ANSWERS or sum(sizes.values()) > _MAX_ANSWER_BYTES):
                oldest, _ = self._held.popitem(last=False)
                del sizes[oldest]


@st.cache_resource(show_spinner=False, max_entries=4)
def plain_model(path: str, version: tuple[tuple[str, int, int], ...]) -> PlainModel | None:
    """The captured model of a run's folder; `version` changes when its files do."""
    return read_plain_model(path)


@st.cache_resource(scope="session", show_spinner=False, max_entries=1, on_release=lambda sandbox: sandbox.close())
def sandbox(device: str) -> Sandbox:
    """The session's process that runs models; it starts with the first question and ends with the session."""
    return Sandbox(device=device, time_limit_s=_TIME_LIMIT_S)


def run_again() -> None:
    """Forget what failed, so that it is tried again; for a button."""
    _answers().forget_failures()


def ask(
    scene: Scene,
    kind: str,
    recipe: Recipe = (),
    *,
    inputs: Mapping[str, Any] | None = None,
    snapshots: Sequence[int] = (),
    on_progress: Callable[[int, int | None], None] | None = None,
    **more: Any,  # noqa: ANN401 - plain data and arrays
) -> Any:  # noqa: ANN401
    """Ask the child about the model of a scene.

    Args:
        scene: model and step.
        kind: of the question, see `sandbox.requests`.
        recipe: edits.
        inputs: arrays by path; None is all recorded examples.
        snapshots: steps that the question needs besides those that the recipe names.
        on_progress: called with (done, all or None) while it works.
        **more: of the question.

    Raises:
        UsageError, ProgramError, SandboxError: as `Sandbox.request`; FileError: a snapshot cannot be read.
    """
    key = scene.key
    value = {"key": key, "recipe": to_list(recipe), "inputs": dict(inputs or {}), **more}
    needed = _needed(recipe, scene)
    for step in snapshots:
        needed["", step] = _weights(scene, step)

    def make() -> Any:  # noqa: ANN401
        box = sandbox(scene.device)
        known = st.session_state.setdefault("inference.known", {})
        # A restarted session or another device has a sandbox that knows no model yet.
        if known.get("sandbox") is not box:
            known.clear()
            known["sandbox"] = box
        if key not in known:
            box.add_model(key, lambda: _sent(scene))
            known[key] = True
        return box.request(kind, value, snapshots=needed, on_progress=on_progress)

    return _answers().get(f"{scene.device}/{kind}/{_digest(value)}", make)


def _answers() -> _Answers:
    answers: _Answers = st.session_state.setdefault(_ANSWERS, _Answers())
    return answers


def _num_bytes(found: object) -> int:
    """Of the arrays in an answer."""
    if isinstance(found, Mapping):
        return sum(map(_num_bytes, found.values()))
    return found.nbytes if isinstance(found, np.ndarray) else 0


def _sent(scene: Scene) -> dict[str, Any]:
    model = scene.model
    probe = model.inputs if model.num_examples else {}
    return {
        "program": dict(model.document),
        "constants": dict(model.constants),
        "weights": _weights(scene, scene.step)(),
        "probe": dict(probe),
    }


def _weights(scene: Scene, step: int) -> Callable[[], dict[str, Any]]:
    return lambda: plain_weights(scene.model.program, scene.run.snapshot(step))


def _needed(recipe: Recipe, scene: Scene) -> dict[Where, Callable[[], dict[str, Any]]]:
    """The weights of other steps and runs that edits name."""
    found: dict[Where, Callable[[], dict[str, Any]]] = {}
    for edit in recipe:
        step, run = getattr(edit, "step", None), getattr(edit, "run", "")
        if edit.kind == "reset":
            found["", None] = _weights(scene, scene.steps[0])
        elif type(step) is int:
            found[run, step] = _weights_of_run(scene, run, step) if run else _weights(scene, step)
    return found


def _weights_of_run(scene: Scene, run_id: str, step: int) -> Callable[[], dict[str, Any]]:
    """Of another run of the same root; its id is looked up among those that are listed, never joined to a path."""
    from explorer.app import shell

    def read() -> dict[str, Any]:
        info = next((info for info in shell.runs() if info.run_id == run_id), None)
        if info is None:
            raise ExplorerError(f"the edit takes weights of run {run_id!r}, which is not in this folder")
        return plain_weights(scene.model.program, open_run(info).snapshot(step))

    return read


def _digest(value: Mapping[str, Any]) -> str:
    arrays = hashlib.sha256()

    def default(found: object) -> object:
        if isinstance(found, np.ndarray):
            arrays.update(np.ascontiguousarray(found).tobytes())
            return [found.dtype.str, list(found.shape)]
        raise TypeError(f"a question holds plain data; found a {type(found).__name__}")

    text = json.dumps(value, sort_keys=True, default=default)
    return hashlib.sha256(text.encode() + arrays.digest()).hexdigest()
