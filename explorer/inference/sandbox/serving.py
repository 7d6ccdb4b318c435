"""How the child takes its requests: what was asked first, what may be asked next when there is time."""

from __future__ import annotations

import contextlib
import queue
from typing import Any

import torch

from explorer.errors import ExplorerError, OutOfMemory
from explorer.inference.devices import run_or_fall_back
from explorer.inference.sandbox.answers import Request, Ticker
from explorer.inference.sandbox.models import Models
from explorer.inference.sandbox.requests import Handler
from explorer.inference.sandbox.wire import Message
from explorer.programs.interpreter import is_out_of_memory


def next_request(waiting: queue.SimpleQueue[Message], models: Models) -> Message:
    """Wait for a request. While there is none, follow the last hint: read what may be asked for next, bit by bit."""
    hinted: list[Any] = []
    while True:
        try:
            message = waiting.get(block=not hinted)
        except queue.Empty:
            # A hint that cannot be followed is no failure: who asks for the same is told why.
            with contextlib.suppress(ExplorerError, OSError, MemoryError):
                models.read_ahead(*hinted.pop())
            continue
        if message.kind != "hint":
            return message
        value = message.value["value"]
        hinted = [(value["key"], step) for step in reversed(value["steps"])]


def answered(handler: Handler, models: Models, request: Request, tick: Ticker) -> tuple[Any, str]:
    """What a handler answers, and a sentence where the device has too little memory and it runs on the CPU instead.

    Raises:
        OutOfMemory: the CPU has too little as well. And what the handler raises.
    """

    def run(device: torch.device) -> Any:  # noqa: ANN401 - an answer
        if device != models.device:
            models.move_to_cpu()
        try:
            return handler(models, request, tick)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"the model does not fit into the memory of {device}") from error

    found, _, note = run_or_fall_back(run, models.device)
    models.note = note or models.note
    return found, models.note
