"""Token by token: continue a text with a causal model that gives logits [B, T, V] for tokens [B, T]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.errors import ProgramError, UsageError
from explorer.inference.checkpoint_scrubber import chosen_output
from explorer.inference.edits.apply import Edited

MAX_NEW_TOKENS = 2_000


@dataclass(frozen=True)
class GeneratedToken:
    """One new token.

    Attributes:
        token: its number.
        probability: that the model gave it, at temperature 1.
        top: the most probable (token, probability) pairs at temperature 1, most probable first.
    """

    token: int
    probability: float
    top: tuple[tuple[int, float], ...]


def generate(
    edited: Edited,
    num_new: int,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    num_top: int = 5,
    path: str | None = None,
    output: str | None = None,
    on_token: Callable[[GeneratedToken], None] | None = None,
) -> list[GeneratedToken]:
    """Continue the edited model's (edited) input, one example.

    A model that takes at most L tokens sees the last L ones. Edits of positions count from the first token it sees.

    Args:
        edited: the model and its input [1, T].
        num_new: how many tokens, from 1.
        temperature: 0 takes the most probable token each time; otherwise tokens are drawn from the softmax of the
            logits over it, on the CPU, by the seed.
        seed: of the drawing.
        num_top: how many alternatives to tell.
        path: of the tokens among the inputs; None is the first input of whole numbers with two dimensions.
        output: path of the logits; None is the first floating output.
        on_token: called with each token as it comes.

    Raises:
        UsageError: an argument is out of range, or the model is none for tokens.
        ProgramError: the model cannot run on another length.
    """
    if not 1 <= num_new <= MAX_NEW_TOKENS:
        raise UsageError(f"the number of new tokens should be from 1 to {MAX_NEW_TOKENS}; found {num_new}")
    if not 0 <= temperature <= 100:
        raise UsageError(f"the temperature should be from 0 to 100; found {temperature}")
    path = path or _tokens_path(edited)
    tokens = edited.inputs[path]
    if tokens.dim() != 2 or len(tokens) != 1 or not tokens.shape[1]:
        raise UsageError(f"the text to continue should be tokens [1, T]; found the shape {tuple(tokens.shape)}")
    limit = _longest(edited, path)
    generator = torch.Generator().manual_seed(seed)
    made: list[GeneratedToken] = []
    for _ in range(num_new):
        seen = tokens if limit is None else tokens[:, -limit:]
        try:
            outputs = edited.on({**edited.inputs, path: seen}).outputs
        except ProgramError:
            if not made or seen.shape[1] == 1:
                raise
            # One token more than what just ran is too many: a table of positions ends here.
            limit = seen.shape[1] - 1
            seen = tokens[:, -limit:]
            outputs = edited.on({**edited.inputs, path: seen}).outputs
        logits = chosen_output(outputs, output)
        if logits.dim() != 3 or logits.shape[:2] != seen.shape:
            raise UsageError(f"the model should give logits [1, {seen.shape[1]}, V]; found {tuple(logits.shape)}")
        made.append(_choose(logits[0, -1].detach().to("cpu", torch.float64), temperature, generator, num_top))
        tokens = torch.cat([tokens, tokens.new_tensor([[made[-1].token]])], dim=1)
        if on_token is not None:
            on_token(made[-1])
    return made


def _choose(logits: Tensor, temperature: float, generator: torch.Generator, num_top: int) -> GeneratedToken:
    if not bool(logits.isfinite().any()):
        raise ProgramError("the model gives no finite logit for the next token")
    probabilities = logits.softmax(dim=-1)
    if temperature == 0:
        token = int(logits.argmax())
    else:
        token = int(torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator))
    best = probabilities.topk(min(num_top, len(logits)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return GeneratedToken(token, float(probabilities[token]), tuple(pairs))


def _tokens_path(edited: Edited) -> str:
    for path, value in edited.inputs.items():
        if value.dim() == 2 and value.dtype in (torch.int64, torch.int32):
            return path
    raise UsageError("the model should take tokens [B, T] of whole numbers; it has no such input")


def _longest(edited: Edited, path: str) -> int | None:
    """The most tokens that the model was recorded to take; None is any number."""
    program = edited.subject.interpreter.program
    dim = next(found.shape[1] for found in program.inputs if found.path == path)
    return dim if isinstance(dim, int) else program.symbols.get(dim, (0, None))[1]
