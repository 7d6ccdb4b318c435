"""What may be asked of the child, each a function of its models and of plain data. A positive list: `HANDLERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.checkpoint_scrubber import as_array, scrub
from explorer.inference.control import control, control_outputs
from explorer.inference.divergence import node_differences
from explorer.inference.edits.apply import Edited, Subject, apply
from explorer.inference.edits.recipe import Recipe, parse_recipe
from explorer.inference.generation import generate
from explorer.inference.sandbox.answers import Answer, Request, Ticker, plain
from explorer.inference.sandbox.models import Models, tensors, text
from explorer.inference.sandbox.run_requests import check, describe, fit, tokenise
from explorer.inference.timing import measure
from explorer.inference.units import unit_activity

MAX_SWEEP: Final = 2_000
_CONTROLS_S: Final = 2.0


def run(models: Models, request: Request, tick: Ticker) -> Answer:
    """Original and edited, for the inputs or (inputs absent) for the probe batch.

    Answers before and after (outputs by path), inputs (edited); with `nodes` the table of node differences; with
    `control` (a seed) the outputs of a control, or why there is none; with `controls` (how many) the first output of
    so many controls, [seeds, ...], fewer where that takes more than `controls_s` seconds; with `keep` the edited
    values of nodes. With `before` false, who asks knows it already; an empty recipe runs once.
    """
    subject, recipe, inputs = _asked(models, request)
    edited = apply(recipe, subject, inputs)
    keep = request.get("keep") or []
    if not isinstance(keep, list) or not all(isinstance(name, str) for name in keep):
        raise UsageError("a request's keep should be names of nodes")
    wanted = request.get("before") is not False
    original = models.original(text(request, "key"), edited) if wanted or not recipe else None
    tick(1, 2)
    result = original if original is not None and not recipe and not keep else edited.run(keep=set(keep))
    answer: Answer = {
        "before": plain(original.outputs) if original is not None and wanted else {},
        "after": plain(result.outputs),
        "inputs": plain(edited.inputs),
        "kept": plain(result.kept),
    }
    if request.get("nodes"):
        answer["nodes"] = node_differences(edited)
    if request.get("control") is not None:
        seed = _int(request, "control")
        try:
            answer["control"] = plain(control(edited, recipe, seed=seed).run().outputs)
        except UsageError as error:
            answer["no_control"] = str(error)
    if request.get("controls") is not None:
        try:
            answer["controls"] = control_outputs(
                edited,
                recipe,
                _int(request, "controls"),
                max_s=float(request.get("controls_s") or _CONTROLS_S),
                on_run=tick,
            )
        except UsageError as error:
            answer["no_control"] = str(error)
    tick(2, 2)
    return answer


def sweep(models: Models, request: Request, tick: Ticker) -> Answer:
    """Each of `edits` in turn on top of the recipe: the first output for each, [edits, ...], and without any.

    With `at` each stands at that place of the recipe, before the edits that are there and behind.
    """
    subject, recipe, inputs = _asked(models, request)
    edits = request.get("edits")
    if not isinstance(edits, list) or not 1 <= len(edits) <= MAX_SWEEP:
        raise UsageError(f"a sweep should have 1 to {MAX_SWEEP:,} edits")
    before = apply(recipe, subject, inputs).run().outputs
    path = next((path for path, value in before.items() if isinstance(value, Tensor)), None)
    if path is None:
        raise UsageError("the model should give a tensor")
    found = []
    at = min(max(_int(request, "at", len(recipe)), 0), len(recipe))
    for edit in edits:
        one = (*recipe[:at], *parse_recipe([edit]), *recipe[at:])
        found.append(as_array(apply(one, subject, inputs).run().outputs[path]))
        if found[-1].shape != found[0].shape:
            raise UsageError("the edits of a sweep should leave the output's shape as it is")
        tick(len(found), len(edits))
    return {"before": as_array(before[path]), "after": np.stack(found)}


def scrub_steps(models: Models, request: Request, tick: Ticker) -> Answer:
    """The same input with the weights of every one of `steps` that were given as snapshots."""
    subject, recipe, inputs = _asked(models, request)
    steps = request.get("steps")
    if not isinstance(steps, list) or not all(type(step) is int for step in steps):
        raise UsageError("a request's steps should be whole numbers")
    edited = apply(recipe, subject, inputs)
    found = scrub(edited, steps, lambda step: subject.snapshots.weights("", step), on_progress=tick)
    return {"steps": found.steps, "outputs": found.outputs}


def continue_text(models: Models, request: Request, tick: Ticker) -> Answer:
    """New tokens with their probabilities."""
    subject, recipe, inputs = _asked(models, request)
    count = _int(request, "num_new")
    made: list[Any] = []

    def on_token(token: Any) -> None:  # noqa: ANN401 - a GeneratedToken
        made.append(token)
        tick(len(made), count)

    generate(
        apply(recipe, subject, inputs),
        count,
        temperature=float(request.get("temperature", 0.0)),
        seed=_int(request, "seed", 0),
        on_token=on_token,
    )
    return {"tokens": [asdict(token) for token in made]}


def units(models: Models, request: Request, tick: Ticker) -> Answer:
    """The units of a node over the probe batch, or over the inputs."""
    subject, recipe, inputs = _asked(models, request)
    edited = apply(recipe, subject, inputs)
    found = unit_activity(edited, edited.inputs, text(request, "node"), k=_int(request, "k", 9))
    tick(1, 1)
    return {"table": found.table, "top_examples": found.top_examples, "top_values": found.top_values}


def attribution(models: Models, request: Request, tick: Ticker) -> Answer:
    """An attribution; with `check` also the table of the randomisation check."""
    # Captum takes a second to import, which nobody waits for who asks for something else.
    from explorer.inference.attribution import attribute
    from explorer.inference.randomisation import randomisation_check

    subject, recipe, inputs = _asked(models, request)
    edited = apply(recipe, subject, inputs)
    baseline = request.get("baseline", "zero")
    options: dict[str, Any] = {
        "target": _target(request.get("target")),
        "path": text(request, "path") if request.get("path") is not None else None,
        "baseline": torch.from_numpy(baseline) if isinstance(baseline, np.ndarray) else str(baseline),
        "node": text(request, "node") if request.get("node") is not None else None,
        "num_steps": _int(request, "num_steps", 20),
        "window": _target(request.get("window")),
    }
    method = text(request, "method")
    runs = 0

    def on_run() -> None:
        nonlocal runs
        runs += 1
        tick(runs, None)

    found = attribute(edited, method, on_run=on_run, **options)
    gap = found.gap()
    answer = {**asdict(found), "gap": gap, "relative_gap": found.relative_gap()}
    if request.get("check"):

        def again(other: Edited) -> np.ndarray[Any, Any]:
            return attribute(other, method, on_run=on_run, **options).values

        answer["check"] = randomisation_check(edited, again, seed=_int(request, "seed", 0))
    return answer


def picture(models: Models, request: Request, tick: Ticker) -> Answer:
    """A PNG or JPEG (`file`, uint8) as an input of `channels`, `height` and `width`; see `pictures.decode_picture`."""
    # Pillow is only imported where somebody has a picture.
    from explorer.inference.sandbox.pictures import decode_picture

    file = request.get("file")
    if not isinstance(file, np.ndarray) or file.dtype != np.uint8:
        raise UsageError("a request's file should be bytes")
    sizes = [_int(request, name) for name in ("channels", "height", "width")]
    found = decode_picture(file.tobytes(), sizes[0], sizes[1], sizes[2], text(request, "fit"), bool(request["invert"]))
    tick(1, 1)
    return found


def times(models: Models, request: Request, tick: Ticker) -> Answer:
    """How long each module takes for the inputs, see `timing.ModuleTimes`."""
    subject, recipe, inputs = _asked(models, request)
    return asdict(measure(apply(recipe, subject, inputs), tick))


Handler = Callable[[Models, Request, Ticker], Answer]
HANDLERS: Final[Mapping[str, Handler]] = {
    "open": lambda models, request, _: models.open(request),
    "load": lambda models, request, _: models.load(request),
    "snapshot": lambda models, request, _: models.snapshot(request),
    "run": run,
    "check": check,
    "describe": describe,
    "fit": fit,
    "tokenise": tokenise,
    "sweep": sweep,
    "scrub": scrub_steps,
    "generate": continue_text,
    "units": units,
    "attribute": attribution,
    "picture": picture,
    "times": times,
}


def _asked(models: Models, request: Request) -> tuple[Subject, Recipe, dict[str, Tensor]]:
    subject = models.get(request)
    inputs = tensors(request, "inputs") or dict(subject.probe or {})
    if not inputs:
        raise UsageError("a request should have inputs, since the model has no recorded examples")
    return subject, parse_recipe(request.get("recipe") or []), inputs


def _int(request: Request, name: str, default: int | None = None) -> int:
    found = request.get(name, default)
    if type(found) is not int:
        raise UsageError(f"a request's {name} should be a whole number; found a {type(found).__name__}")
    return found


def _target(found: Any) -> Any:  # noqa: ANN401 - foreign data
    if found is None or type(found) is int:
        return found
    if isinstance(found, list) and all(type(part) is int for part in found):
        return tuple(found)
    raise UsageError("a request's target should be a whole number or a list of them")
