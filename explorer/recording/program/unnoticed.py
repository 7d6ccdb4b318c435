"""Keep what a capture does from whoever trains: random numbers, printed graphs, warnings, logs, modes of autograd."""

from __future__ import annotations

import collections
import contextlib
import io
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

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
            _same_loggers(),
            _same_counters(),
            _no_monitor(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


class TalksToOthers(RuntimeError):
    """The model calls a collective operation, for which the other processes do not come."""


class _Alone(TorchDispatchMode):  # type: ignore[no-untyped-call]
    supports_higher_order_operators = True  # such as `torch.cond`

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if "c10d" in str(getattr(func, "namespace", "")):
            raise TalksToOthers(f"it calls {func}")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Run a model as Python says, in this process alone.

    Collective operations are refused where there are other processes: a forward that waits for them would never end.
    What is compiled within the model is run uncompiled: compiling it again could take minutes, and `torch.cond`, which
    compiles itself, would fail in the training afterwards if it were first compiled under our eyes.
    """
    distributed = torch.distributed
    is_one_of_many = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    with torch.compiler.set_stance("force_eager"), contextlib.ExitStack() as stack:
        if is_one_of_many:
            stack.enter_context(_Alone())  # type: ignore[no-untyped-call]
        yield


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
def _same_loggers() -> Iterator[None]:
    """PyTorch's own loggers, of which an export changes handlers; its trace is for what the training compiles."""
    known = [
        (logger, logger.level, logger.propagate, logger.disabled, logger.handlers[:], logger.filters[:])
        for logger in list(logging.root.manager.loggerDict.values())
        if isinstance(logger, logging.Logger) and logger.name.partition(".")[0] == "torch"
    ]
    logging.getLogger("torch.__trace").handlers = []  # it writes in spite of `logging.disable`
    try:
        yield
    finally:
        for logger, level, propagate, disabled, handlers, filters in known:
            if logger.level != level:
                logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
            logger.handlers, logger.filters = handlers, filters


@contextlib.contextmanager
def _same_counters() -> Iterator[None]:
    """What PyTorch counts of compilations: an export is none of the training's."""
    from torch._dynamo.utils import counters

    before = {name: collections.Counter(counts) for name, counts in counters.items()}
    try:
        yield
    finally:
        counters.clear()
        counters.update(before)


@contextlib.contextmanager
def _no_monitor() -> Iterator[None]:
    """The progress bars of export start a thread, even those that are not shown."""
    bars = vars(torch.hub).get("tqdm")  # a stand-in of PyTorch's where tqdm is not installed
    before = getattr(bars, "monitor_interval", None)
    if bars is not None and before is not None:
        bars.monitor_interval = 0
    try:
        yield
    finally:
        if bars is not None and before is not None:
            bars.monitor_interval = before


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
