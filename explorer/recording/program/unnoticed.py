"""Keep what a capture does from whoever trains: random numbers, printed graphs, warnings, logs, modes of autograd."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import sys
import warnings
from collections.abc import Iterator

import torch

from explorer.programs.seeding import generators_of


@contextlib.contextmanager
def unnoticed() -> Iterator[None]:
    """Do something without printing, warning, logging, or changing what comes next from any generator.

    PyTorch prints the partial graph when a capture fails, and draws random numbers while it follows a model.
    """
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            torch.inference_mode(False),  # what is made in it could not be captured
            _same_random_numbers(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Compute without gradients and without the casts of a training."""
    with (
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        torch.autocast("mps", enabled=False),
    ):
        yield


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    generators = generators_of(torch.device("cpu"))
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        generators += torch.cuda.default_generators
    if torch.backends.mps.is_available():
        generators += generators_of(torch.device("mps"))[1:]
    states = [generator.get_state() for generator in generators]
    python = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = None if numpy is None else numpy.random.get_state()
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
