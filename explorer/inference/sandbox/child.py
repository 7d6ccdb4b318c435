"""The child process: reads requests, works, answers; ends when its parent does.

Its only ways out are the pipe and the files that importing PyTorch reads. What is printed goes to the error stream,
so that nothing can mix with the answers.
"""

from __future__ import annotations

import gc
import os
import queue
import threading
import time
from typing import Any, BinaryIO, Final

from explorer.errors import ExplorerError, OutOfMemory, ProgramError, SandboxError, UsageError
from explorer.inference.sandbox.early_reading import EarlyReading
from explorer.inference.sandbox.wire import MAX_ANSWER_BYTES, Message, receive, send

_TOLD_EVERY_S: Final = 0.1
_MAX_TEXT: Final = 2_000


class Cancelled(Exception):
    """The parent does not want the answer any more."""


def main() -> None:
    """Serve one parent until it closes the pipe."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    first = receive(requests)
    if first is None or first.kind != "start":
        raise SystemExit("the sandbox expects its limits first")
    memory_bytes = first.value.get("memory_bytes")
    early = EarlyReading(first.value.get("opening") or {}, memory_bytes)
    # What is imported stays: to look for what of it could go takes a fifth of a second.
    gc.disable()
    from explorer.inference.factory import Factory
    from explorer.inference.sandbox.models import Models
    from explorer.inference.sandbox.requests import HANDLERS
    from explorer.inference.sandbox.serving import answered, next_request

    gc.freeze()
    gc.enable()
    limit_memory(memory_bytes, early.num_bytes)
    send(answers, Message("ready", {"pid": os.getpid()}))
    waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
    cancelled: set[int] = set()
    threading.Thread(target=_listen, args=(requests, waiting, cancelled), daemon=True).start()
    given = first.value.get("factory")
    factory = None if given is None else Factory(given["name"], given["folder"])
    models = Models(str(first.value.get("device")), memory_bytes, factory, early)
    while True:
        message = next_request(waiting, models)
        number = message.value["number"]
        tick = _Tick(answers, number, cancelled)
        try:
            handler = HANDLERS.get(message.kind)
            if handler is None:
                raise UsageError(f"the sandbox can {', '.join(HANDLERS)}; it was asked to {message.kind[:50]!r}")
            found, note = answered(handler, models, message.value["value"], tick)
            answer = Message("answer", {"number": number, "value": found, "note": note})
        except Exception as error:  # every failure of a request is told; the child lives on
            answer = _refusal(number, error)
        try:
            send(answers, answer, MAX_ANSWER_BYTES)
        except SandboxError as error:
            send(answers, _refusal(number, UsageError(str(error))))


def _refusal(number: int, error: Exception) -> Message:
    return Message("error", {"number": number, "type": _type(error), "text": str(error)[:_MAX_TEXT]})


class _Tick:
    """Tells progress, at most ten times a second, and raises where the request was cancelled."""

    def __init__(self, answers: BinaryIO, number: int, cancelled: set[int]) -> None:
        self._answers, self._number, self._cancelled = answers, number, cancelled
        self._told_s = time.monotonic()

    def __call__(self, done: int, total: int | None = None) -> None:
        if self._number in self._cancelled:
            raise Cancelled("it was cancelled")
        if time.monotonic() - self._told_s >= _TOLD_EVERY_S:
            self._told_s = time.monotonic()
            send(self._answers, Message("progress", {"number": self._number, "done": done, "total": total}))


def _listen(requests: BinaryIO, waiting: queue.SimpleQueue[Message], cancelled: set[int]) -> None:
    """Hand on requests and take note of cancellations; without a parent there is no reason to live."""
    try:
        while (message := receive(requests)) is not None:
            value: Any = message.value
            if not isinstance(value, dict) or type(value.get("number")) is not int:
                break
            if message.kind == "cancel":
                cancelled.add(value["number"])
            else:
                waiting.put(message)
    finally:
        os._exit(0)


def limit_memory(extra_bytes: int | None, taken_bytes: int = 0) -> None:
    """Let this process take so much address space beyond what it has now; None sets no limit.

    `taken_bytes` of what it has now count as taken from that.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file of the model's size behind
    if extra_bytes is None:
        return
    limit = _address_space_bytes() + extra_bytes - taken_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _address_space_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: what PyTorch takes at most
        return 6 * 2**30


def _type(error: Exception) -> str:
    if isinstance(error, OutOfMemory | MemoryError):
        return "OutOfMemory"
    for known in (UsageError, ProgramError, Cancelled):
        if isinstance(error, known):
            return known.__name__
    from explorer.programs.interpreter import is_out_of_memory

    if is_out_of_memory(error):
        return "OutOfMemory"
    return "ExplorerError" if isinstance(error, ExplorerError) else type(error).__name__
