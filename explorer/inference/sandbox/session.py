"""The parent's side: one child a session, started when it is needed, killed at its limits, started again after that.

Needs no torch: a page that only asks stays light.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from explorer.errors import OutOfMemory, ProgramError, RunCancelled, SandboxError, UsageError
from explorer.inference.factory import Factory
from explorer.inference.sandbox.wire import MAX_ANSWER_BYTES, Message, receive, send

Progress = Callable[[int, int | None], None]
MakeModel = Callable[[], Mapping[str, Any]]

# -I: neither the working directory nor the environment adds a folder that could hold a torch.py of a stranger's.
_COMMAND: Final = (
    "-I",
    "-c",
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from explorer.inference.sandbox.child import main; main()",
)
# Last, so that it shadows nothing; a clone that is run from its own folder is on the path as "" only.
_PACKAGE_ROOT: Final = str(Path(__file__).resolve().parents[3])
_START_S: Final = 120.0
_GRACE_S: Final = 1.0
_ERRORS: Final = {"UsageError": UsageError, "ProgramError": ProgramError, "ExplorerError": ProgramError}


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    keys: set[str] = field(default_factory=set)
    snapshots: dict[str, set[tuple[str, int | None]]] = field(default_factory=dict)
    reason: str | None = None  # why we killed it
    is_ready: bool = False
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: Message) -> None:
        """Write a message, whole; cancellations come from another thread than requests."""
        with self._writing:
            send(cast("BinaryIO", self.process.stdin), message)

    def kill(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.process.kill()


class Sandbox:
    """Programs run here for one session, in a process of its own. Use it from any thread; one request at a time.

    Args:
        memory_bytes: beyond what PyTorch itself takes; None is half of this machine's memory, at most 8 GiB. Held where
            the system can (Linux), and only for the CPU: drivers of GPUs reserve far more than they use.
        time_limit_s: of one request, after which the child is killed.
        device: where models run, as PyTorch names it.
        factory: the user's own code, which requests may then ask to be run; of the command line only.

    Attributes:
        note: what the last answer says of where it ran, such as on the CPU for want of memory; "" as a rule.
    """

    def __init__(
        self,
        *,
        memory_bytes: int | None = None,
        time_limit_s: float = 60.0,
        device: str = "cpu",
        factory: Factory | None = None,
    ) -> None:
        if not 0 < time_limit_s <= 24 * 3600:
            raise UsageError(f"the time limit should be from 0 to 86,400 seconds; found {time_limit_s}")
        if memory_bytes is not None and memory_bytes < 2**26:
            raise UsageError(f"the memory limit should be at least 64 MiB; found {memory_bytes:,} bytes")
        self.memory_bytes = memory_bytes or _default_memory_bytes()
        self.time_limit_s = time_limit_s
        self.device, self.factory = device, factory
        self.note = ""
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._number = 0
        self._running: int | None = None
        self._makers: dict[str, MakeModel] = {}
        self._finalizer: weakref.finalize[..., Sandbox] | None = None

    def add_model(self, key: str, make: MakeModel) -> None:
        """Name a model for requests. It is sent when a request first needs it, and again to a new child.

        Args:
            key: its name, such as `run@step`; naming another one alike replaces it.
            make: gives what `sandbox.models.Models.open` takes (`run`, the folder of a recorded run, which the child
                reads itself, and `step`); or `program` (a document), `constants`, `weights` and `probe` (names to
                arrays).
        """
        with self._lock:
            self._makers[key] = make
            if self._child is not None:
                self._child.keys.discard(key)

    def request(
        self,
        kind: str,
        value: Mapping[str, Any],
        *,
        on_progress: Progress | None = None,
        snapshots: Mapping[tuple[str, int | None], MakeModel] | None = None,
        time_limit_s: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Any:  # noqa: ANN401 - what the kind answers
        """Ask for something and wait for the answer.

        Args:
            kind: one of `sandbox.requests.HANDLERS`.
            value: plain data and arrays; `key` names a model that was added.
            on_progress: called in this thread with (done, all or None).
            snapshots: (run, step) to a function that reads those weights, for edits that need them; sent once. A
                recorded run's child reads them itself.
            time_limit_s: of this request, instead of the sandbox's.
            is_wanted: asked before anything is sent: by then nobody may wait for the answer any more.

        Raises:
            UsageError, ProgramError: as the same call gives without a sandbox.
            OutOfMemory: it needs more memory than the limit; the next request starts a new child.
            RunCancelled: `cancel` was called.
            SandboxError: the child took too long, crashed or could not be started; the next request starts a new one.
        """
        with self._lock:
            self._check(is_wanted)
            key, child = value.get("key"), self._running_child()
            # What is to be sent of the model before the request; None where there is nothing.
            made: dict[str, Any] | None = None
            if isinstance(key, str) and key in self._makers and (child is None or key not in child.keys):
                made = {**self._makers[key](), "key": key}
            child = child or self._started(made)
            self._check(is_wanted)
            if made is not None:
                kind_of_load = "open" if "run" in made else "load"
                child.keys = set(self._ask(child, kind_of_load, made, None)["keys"])
                child.snapshots = {held: known for held, known in child.snapshots.items() if held in child.keys - {key}}
                self._check(is_wanted)
            for (run, step), make in (snapshots or {}).items():
                known = child.snapshots.get(str(key), set())
                if (run, step) not in known:
                    sent = {"key": key, "run": run, "step": step, "weights": dict(make())}
                    held = self._ask(child, "snapshot", sent, None)["snapshots"]
                    child.snapshots[str(key)] = {(one, other) for one, other in held}
            return self._ask(child, kind, value, on_progress, time_limit_s)

    def hint(self, key: str, steps: Sequence[int]) -> None:
        """Name steps of a recorded run whose weights may be asked for next; the child reads them when it has time."""
        with self._lock:
            child = self._child
            if child is None or key not in child.keys:
                return
            # A child that is gone is noticed by the next request.
            with contextlib.suppress(OSError, ValueError):
                child.send(Message("hint", {"number": 0, "value": {"key": key, "steps": list(steps)}}))

    @property
    def is_ready(self) -> bool:
        """Whether the child has started, so that a request is answered without waiting for that."""
        return self._child is not None and self._child.is_ready

    @staticmethod
    def _check(is_wanted: Callable[[], bool]) -> None:
        if not is_wanted():
            raise RunCancelled("the run was cancelled")

    def start(self, opening: Mapping[str, Any] | None = None) -> None:
        """Start the child now, so that the first request need not wait for PyTorch's import. Raises SandboxError.

        Args:
            opening: the recorded run (`run`, `step`) that will probably be asked about first: the child reads the
                weights meanwhile.
        """
        with self._lock:
            self._started(opening)

    def cancel(self) -> None:
        """Stop the request that is running, if any, from another thread; its child is killed if it does not listen."""
        child, number = self._child, self._running
        if child is None or number is None:
            return

        def insist() -> None:
            if self._running == number:
                child.kill("it was cancelled")

        timer = threading.Timer(_GRACE_S, insist)
        timer.daemon = True
        timer.start()
        with contextlib.suppress(OSError, ValueError):
            child.send(Message("cancel", {"number": number}))

    def close(self) -> None:
        """End the child; the next request would start a new one."""
        with self._lock:
            self._end("the sandbox was closed")

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None where there is none."""
        child = self._child
        return None if child is None or child.process.poll() is not None else child.process.pid

    def _running_child(self) -> _Child | None:
        return self._child if self._child is not None and self._child.process.poll() is None else None

    def _started(self, opening: Mapping[str, Any] | None = None) -> _Child:
        child = self._running_child()
        if child is not None:
            return child
        self._end("it had ended")
        errors = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as the child
        folders = [folder for folder in sys.path if os.path.isabs(folder)]
        path = json.dumps([*folders, *({_PACKAGE_ROOT} - {*folders})])
        try:
            process = subprocess.Popen(
                [sys.executable, *_COMMAND, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            errors.close()
            raise SandboxError(f"no child process could be started ({error.strerror})") from error
        child = self._child = _Child(process, errors)
        self._finalizer = weakref.finalize(self, _finish, process, errors)
        limits = {
            "memory_bytes": self.memory_bytes if self.device == "cpu" else None,
            "device": self.device,
            "factory": self.factory and asdict(self.factory),
            "opening": opening if opening is not None and "run" in opening else None,
        }
        self._exchange(child, Message("start", limits), None, _START_S)
        child.is_ready = True
        return child

    def _ask(
        self,
        child: _Child,
        kind: str,
        value: Mapping[str, Any],
        on_progress: Progress | None,
        limit_s: float | None = None,
    ) -> Any:  # noqa: ANN401
        self._number += 1
        self._running = self._number
        try:
            message = Message(kind, {"number": self._number, "value": dict(value)})
            answer = self._exchange(child, message, on_progress, limit_s or self.time_limit_s)
        finally:
            self._running = None
        if answer.kind == "answer":
            self.note = str(answer.value.get("note") or "")
            return answer.value["value"]
        found, words = str(answer.value.get("type")), str(answer.value.get("text"))
        if found == "OutOfMemory":
            self._end("it ran out of memory")
            raise OutOfMemory(
                f"this needs more than the {self.memory_bytes / 2**30:.3g} GiB that the sandbox may take: {words}. "
                "Use a smaller input, or start the app with a higher --memory-limit"
            )
        if found == "Cancelled":
            raise RunCancelled("the run was cancelled")
        if found in _ERRORS:
            raise _ERRORS[found](words)
        raise SandboxError(f"the run failed with {found}: {words}")

    def _exchange(self, child: _Child, message: Message, on_progress: Progress | None, limit_s: float) -> Message:
        """Send a message and wait for its answer; whatever goes wrong ends the child."""
        took_too_long = f"it took more than {limit_s:g} s"
        timer = threading.Timer(limit_s, child.kill, [took_too_long])
        timer.daemon = True
        timer.start()
        began_s = time.monotonic()
        try:
            child.send(message)
            while True:
                found = receive(cast("BinaryIO", child.process.stdout), MAX_ANSWER_BYTES)
                if found is None:
                    raise EOFError
                if not isinstance(found.value, dict):
                    raise SandboxError("the child answered what it should not")
                if found.kind == "ready" or found.value.get("number") == self._number:
                    if found.kind != "progress":
                        return found
                    if on_progress is not None:
                        on_progress(*_progress(found.value))
        except (OSError, EOFError, SandboxError) as error:
            if isinstance(error, SandboxError) and child.process.poll() is None and child.reason is None:
                self._end(str(error))
                raise
            raise self._failure(child, time.monotonic() - began_s) from error
        except BaseException:
            # A callback raised, or the page was stopped: the answer would come for nobody.
            self._end("nobody waits for it")
            raise
        finally:
            timer.cancel()

    def _failure(self, child: _Child, took_s: float) -> SandboxError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=5)
        code, reason = child.process.poll(), child.reason
        lines = _tail(child.errors)
        self._end(reason or "it ended")
        if reason == "it was cancelled":
            return RunCancelled("the run was cancelled")
        if reason is not None:
            more = "Use a smaller input, or start the app with a higher --time-limit"
            return SandboxError(f"the run was stopped: {reason}. {more}")
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return SandboxError(f"the child process ended by {how} after {took_s:.1f} s. {lines}".strip())

    def _end(self, reason: str) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill(reason)
            if self._finalizer is not None:
                self._finalizer()


def _finish(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    """Leave neither a process nor a pipe behind."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, errors):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _progress(value: Mapping[str, Any]) -> tuple[int, int | None]:
    done, total = value.get("done"), value.get("total")
    if type(done) is not int or (total is not None and type(total) is not int):
        raise SandboxError("the child told progress that is none")
    return done, total


def _tail(errors: IO[bytes]) -> str:
    """The last line that the child printed."""
    with contextlib.suppress(OSError, ValueError):
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - 2_000))
        lines = errors.read().decode(errors="replace").strip().splitlines()
        return "".join(letter for letter in lines[-1] if letter.isprintable())[:300] if lines else ""
    return ""


def _default_memory_bytes() -> int:
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 8 * 2**30
    return min(8 * 2**30, physical // 2)
