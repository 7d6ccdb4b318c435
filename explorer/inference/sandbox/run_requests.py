"""What may be asked of a recorded run as a whole: whether it is met, what fits it, what its user's code makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from explorer.errors import UsageError
from explorer.inference.edits.apply import apply
from explorer.inference.plain_model import HALF_TOLERANCE, TOLERANCE, largest_difference
from explorer.inference.sandbox.answers import Answer, Request, Ticker, plain
from explorer.inference.sandbox.models import Models, text, weights_file
from explorer.inference.tokenizing import text_of, tokens_of
from explorer.inference.weights import compare_weights, limit_file
from explorer.programs.fingerprint import fingerprint

MAX_NAMED: Final = 200
MAX_NAME: Final = 200  # letters of a name


def check(models: Models, request: Request, tick: Ticker) -> Answer:
    """Whether the model of a run still gives for its recorded examples what it gave when it was captured.

    Answers `largest`, the largest absolute difference, and `close`, whether all are within rounding; both None where
    the weights are not those of the capture, or no outputs were recorded.
    """
    subject, opened = models.get(request), models.opened(request)
    wanted = opened.model.outputs
    if not wanted or subject.probe is None or fingerprint(subject.weights) != opened.program.fingerprint:
        return {"largest": None, "close": None}
    result = models.original(text(request, "key"), apply((), subject, subject.probe))
    tick(1, 1)
    tolerance = HALF_TOLERANCE if opened.model.widened else TOLERANCE
    largest, close = largest_difference(plain(result.outputs), wanted, tolerance)
    return {"largest": largest, "close": close}


def fit(models: Models, request: Request, tick: Ticker) -> Answer:
    """How a file of weights (`file`, a path; `prefix` of its names is left out) fits the model of a run."""
    file = weights_file(request)
    limit_file(Path(file.path))
    found = compare_weights(models.opened(request).program, file.path, prefix=file.prefix)
    tick(1, 1)
    return {
        "complete": found.is_complete,
        "prefix": found.prefix[:MAX_NAME],
        "missing": [name[:MAX_NAME] for name in found.missing[:MAX_NAMED]],
        "mismatched": {name[:MAX_NAME]: what for name, what in list(found.mismatched.items())[:MAX_NAMED]},
        "unused": [name[:MAX_NAME] for name in found.unused[:MAX_NAMED]],
        "counts": {"missing": len(found.missing), "mismatched": len(found.mismatched), "unused": len(found.unused)},
        "num_cast": len(found.cast),
    }


def describe(models: Models, request: Request, tick: Ticker) -> Answer:
    """A run's model as its user's own code makes it: the document of its modules, and the inputs it is run on.

    Answers recorded: whether examples, labels and names are those of the run's capture.
    """
    model = models.opened(request).model
    tick(1, 1)
    recorded = bool(model.outputs) or model.labels is not None
    inputs = {} if recorded else dict(model.inputs)
    return {"document": json.dumps(model.document), "inputs": inputs, "recorded": recorded}


def tokenise(models: Models, request: Request, tick: Ticker) -> Answer:
    """With the recorded tokenizer: the tokens of `text`, or the text of `tokens` (whole numbers)."""
    tokenizer = models.opened(request).tokenizer
    tokens = request.get("tokens")
    if tokens is None and isinstance(request.get("text"), str):
        answer: Answer = {"tokens": tokens_of(tokenizer, request["text"])}
    elif isinstance(tokens, list) and all(type(token) is int and 0 <= token < 2**31 for token in tokens):
        answer = {"text": text_of(tokenizer, tokens)}
    else:
        raise UsageError("a request should have a text, or tokens that are whole numbers from 0")
    tick(1, 1)
    return answer
