"""The child process of a session, and the answers that it has given: the same question is asked once.

torch is never imported here; the model runs in `explorer.inference.sandbox`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import shell
from explorer.app.inference_waiting import Progress, waited
from explorer.errors import ExplorerError, RunCancelled, SandboxError, UsageError
from explorer.inference.edits.recipe import Recipe, to_list
from explorer.inference.factory import Factory
from explorer.inference.plain_model import PlainModel, own_plain_model, read_plain_model
from explorer.inference.sandbox.session import Sandbox

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_MAX_ANSWERS: Final = 64
_MAX_ANSWER_BYTES: Final = 256 << 20
_ANSWERS: Final = "inference.answers"
_KNOWN: Final = "inference.known"


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
            self.put(key, error)
            raise
        self.put(key, found)
        return found

    def forget_failures(self) -> None:
        with self._lock:
            self._held = OrderedDict((k, v) for k, v in self._held.items() if not isinstance(v, ExplorerError))

    def put(self, key: str, found: object) -> None:
        """Keep an answer or a failure."""
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


def sandbox(device: str) -> Sandbox:
    """The session's process that runs models; it starts with the first question and ends with the session."""
    factory = shell.factory()
    return _sandbox(device, *(("", "") if factory is None else (factory.name, factory.folder)), *shell.limits())


@st.cache_resource(scope="session", show_spinner=False, max_entries=1, on_release=lambda sandbox: sandbox.close())
def _sandbox(device: str, factory: str, folder: str, time_limit_s: float, memory_bytes: int | None) -> Sandbox:
    return Sandbox(
        device=device,
        time_limit_s=time_limit_s,
        memory_bytes=memory_bytes,
        factory=Factory(factory, folder) if factory else None,
    )


def prepare(device: str, path: str, step: int | None) -> None:
    """Start the process while the page is still being drawn: PyTorch takes a second to import.

    Args:
        device: where models will run.
        path: of the run's folder.
        step: whose weights will probably be asked for first, and are read meanwhile; None is the last.
    """
    box = sandbox(device)
    if box.pid is None:
        threading.Thread(target=_start, args=(box, {"run": path, "step": step}), daemon=True).start()


def run_again() -> None:
    """Forget what failed, so that it is tried again; for a button."""
    _answers().forget_failures()


def ask(
    scene: Scene,
    kind: str,
    recipe: Recipe = (),
    *,
    inputs: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    **more: Any,  # noqa: ANN401 - plain data and arrays
) -> Any:  # noqa: ANN401
    """Ask the child about the model of a scene, and wait: with a button to stop where that takes long.

    Args:
        scene: model and step.
        kind: of the question, see `sandbox.requests`.
        recipe: edits.
        inputs: arrays by path; None is all recorded examples.
        on_progress: called with (done, all or None) while it works.
        **more: of the question.

    Raises:
        UsageError, ProgramError, SandboxError: as `Sandbox.request`; FileError: the weights cannot be read.
    """
    value = {"recipe": to_list(recipe), "inputs": dict(inputs or {}), **more}
    return _ask(scene.device, scene.key, _opening(scene), kind, value, on_progress)


def own_model(path: str, version: str, device: str, recorded: PlainModel | None) -> PlainModel:
    """A run's model as the factory of the command line makes it. Raises as `ask`: it fails, or its weights do not fit.

    Args:
        path: of the run's folder.
        version: changes when the recorded program does.
        device: where it runs.
        recorded: what was captured of it, whose examples and names are used; None when nothing was.
    """
    factory = shell.factory()
    if factory is None:
        raise UsageError("no factory was given on the command line")
    opening = {"run": path, "version": version, "factory": True}
    answer = _ask(device, f"{path}@own@{version}", opening, "describe", {}, None)
    inputs = None if answer["recorded"] else answer["inputs"]
    return own_plain_model(factory.name, json.loads(answer["document"]), inputs, recorded)


def _ask(
    device: str,
    key: str,
    opening: Mapping[str, Any],
    kind: str,
    value: Mapping[str, Any],
    on_progress: Progress | None,
) -> Any:  # noqa: ANN401 - what the sandbox answers
    value = {"key": key, **value}
    question = f"{device}/{kind}/{_digest(value)}"
    answers = _answers()

    def make() -> Any:  # noqa: ANN401
        box = sandbox(device)
        known = st.session_state.setdefault(_KNOWN, {})
        # A restarted session or another device has a sandbox that knows no model yet.
        if known.get("sandbox") is not box:
            known.clear()
            known["sandbox"] = box
        if key not in known:
            box.add_model(key, lambda: opening)
            known[key] = True

        def job(told: Progress, is_wanted: Callable[[], bool]) -> Any:  # noqa: ANN401
            return box.request(kind, value, on_progress=told, is_wanted=is_wanted)

        return waited(
            job,
            box.cancel,
            lambda: "Running the model" if box.is_ready else "Starting the process that runs the model",
            on_stop=lambda: answers.put(question, RunCancelled("You stopped it.")),
            key=question,
            on_progress=on_progress,
        )

    return answers.get(question, make)


def read_ahead(scene: Scene) -> None:
    """Let the process read the weights of the neighbouring steps while nothing is asked."""
    if scene.file is None:
        place = scene.steps.index(scene.step)
        sandbox(scene.device).hint(scene.key, [*scene.steps[place + 1 : place + 3], *scene.steps[:place][-1:]])


def note(scene: Scene) -> str:
    """What is to be known of where the model ran; "" when it is where it should be."""
    return sandbox(scene.device).note


def _answers() -> _Answers:
    answers: _Answers = st.session_state.setdefault(_ANSWERS, _Answers())
    return answers


def _num_bytes(found: object) -> int:
    """Of the arrays in an answer."""
    if isinstance(found, Mapping):
        return sum(map(_num_bytes, found.values()))
    return found.nbytes if isinstance(found, np.ndarray) else 0


def _start(box: Sandbox, opening: Mapping[str, Any]) -> None:
    # Why it does not start is told by the first question, which tries again.
    with suppress(SandboxError):
        box.start(opening)


def _opening(scene: Scene) -> dict[str, Any]:
    """How the child finds the model: it reads the run's files itself."""
    where = {
        "run": str(scene.info.path),
        "version": scene.version.partition(".")[0],
        "factory": bool(scene.model.factory),
    }
    if scene.file is not None:
        return {**where, "file": scene.file.path, "prefix": scene.file.prefix, "reading": scene.file.reading}
    return {**where, "step": scene.step}


def _digest(value: Mapping[str, Any]) -> str:
    arrays = hashlib.sha256()

    def default(found: object) -> object:
        if isinstance(found, np.ndarray):
            arrays.update(np.ascontiguousarray(found).tobytes())
            return [found.dtype.str, list(found.shape)]
        raise TypeError(f"a question holds plain data; found a {type(found).__name__}")

    text = json.dumps(value, sort_keys=True, default=default)
    return hashlib.sha256(text.encode() + arrays.digest()).hexdigest()
