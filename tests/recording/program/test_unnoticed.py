"""A capture leaves the process as it was: whatever PyTorch and Python can be asked for is the same after it."""

import copy
import logging
import os
import random
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from explorer import Recorder
from explorer.recording.program.capture import capture
from tests.program_models import ThroughNumpy, make, mlp

ROUTES = {"mlp": "export", "cond": "export", "numpy": "strict", "decides in Python": "tape", "packed": "tape"}
pytestmark = pytest.mark.filterwarnings("ignore")  # those of PyTorch about itself, when it is imported


def loggers():
    manager = logging.root.manager
    known = [logging.root, *(each for each in manager.loggerDict.values() if isinstance(each, logging.Logger))]
    facts = {each.name: (each.level, each.propagate, each.disabled, list(each.filters)) for each in known}
    handlers = {each.name: [(id(handler), handler.level) for handler in each.handlers] for each in known}
    return facts, handlers, manager.disable, logging.raiseExceptions, logging.getLogRecordFactory()


def torch_state():
    names = ("cuda", "cpu", "mps")
    sdp = torch.backends.cuda
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "autocast": [(torch.is_autocast_enabled(name), torch.get_autocast_dtype(name)) for name in names],
        "autocast cache": torch.is_autocast_cache_enabled(),
        "determinism": (
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "mkldnn": (torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()),
        "sdp": (sdp.flash_sdp_enabled(), sdp.math_sdp_enabled(), sdp.mem_efficient_sdp_enabled()),
        "multithreading": torch.autograd.is_multithreading_enabled(),
        "tracing": (torch._C._get_tracing_state(), torch.compiler.is_compiling(), torch.jit.is_tracing()),
        "modes of dispatch": torch._C._len_torch_dispatch_stack(),
    }


def configurations():
    import torch._export.config
    import torch._functorch.config
    import torch._inductor.config
    from torch.fx.experimental import _config

    found = (torch._dynamo.config, torch._functorch.config, torch._inductor.config, torch._export.config, _config)
    return {module.__name__: copy.deepcopy(module.get_config_copy()) for module in found}


def python_state():
    return {
        "warnings": (list(warnings.filters), warnings.showwarning),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.gettrace()),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "threads": set(threading.enumerate()),
        "environment": dict(os.environ),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "here": (os.getcwd(), list(sys.path)),
    }


def random_state():
    numbers = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), (numbers[0], numbers[1].tolist(), *numbers[2:])


def compiled_state():
    from torch._dynamo.utils import counters

    return {name: dict(counts) for name, counts in counters.items()}


def whole_state():
    return {
        "loggers": loggers(), "torch": torch_state(), "configurations": configurations(), "python": python_state(),
        "random": random_state(), "compiled": compiled_state(),
    }  # fmt: skip


@pytest.mark.parametrize("name", ROUTES)
def test_everything_is_as_it_was(name):
    capture(nn.Linear(2, 2), (torch.ones(2, 2),), {})  # PyTorch imports what it needs for it
    model, (args, kwargs), _ = make(name)
    before = whole_state()
    assert capture(model, args, kwargs).document["route"] == ROUTES[name]
    after = whole_state()
    for part, found in after.items():
        if isinstance(found, dict):
            assert found == {key: before[part][key] for key in found}, part
    new = {key: facts for key, facts in after["loggers"][0].items() if key not in before["loggers"][0]}
    assert not {key for key, facts in new.items() if facts[0] or facts[2]}  # of modules imported now; of no own level
    assert {key: after["loggers"][0][key] for key in before["loggers"][0]} == before["loggers"][0]
    assert {key: after["loggers"][1][key] for key in before["loggers"][1]} == before["loggers"][1]
    assert after["loggers"][2:] == before["loggers"][2:]
    assert after["random"] == before["random"]


def test_a_model_that_fails_leaves_everything_as_it_was_too():
    class Fails(nn.Module):
        def forward(self, x):
            torch.set_grad_enabled(True)
            raise RuntimeError("no")

    capture(nn.Linear(2, 2), (torch.ones(2, 2),), {})
    before = whole_state()
    with torch.no_grad():
        assert capture(Fails(), (torch.ones(2, 2),), {}).document is None
        assert not torch.is_grad_enabled()
    after = whole_state()
    assert [after[part] for part in ("torch", "random", "compiled")] == [
        before[part] for part in ("torch", "random", "compiled")
    ]


def test_the_trace_of_what_a_training_compiles_has_nothing_of_a_capture():
    """The logger writes in spite of `logging.disable`, and drops its own handler when no trace was asked for."""
    lines, logger = [], logging.getLogger("torch.__trace")
    handler = logging.Handler()
    handler.emit = lines.append
    logger.addHandler(handler)
    try:
        capture(mlp(), (torch.randn(3, 4),), {})
        assert lines == []
        assert handler in logger.handlers
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["mlp", "numpy"])
def test_what_is_compiled_stays_compiled(name):
    """Strict export of some versions of PyTorch begins by throwing all compiled code away."""
    from torch._dynamo.utils import counters

    model, (args, kwargs), _ = make(name)
    same, other = torch.compile(model, backend="eager"), torch.compile(ThroughNumpy(), backend="eager")
    for _ in range(2):
        same(*args, **kwargs)
        other(torch.randn(3, 4))
    graphs = counters["stats"]["unique_graphs"]
    assert capture(same, args, kwargs).document["route"] == ROUTES[name]
    same(*args, **kwargs)
    other(torch.randn(3, 4))
    assert counters["stats"]["unique_graphs"] == graphs


class Talks(nn.Module):
    """A model that prints, warns and logs, as its author debugs it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        print("out")
        print("err", file=sys.stderr)
        warnings.warn("a warning", UserWarning, stacklevel=1)
        logging.getLogger("user").error("a log")
        return self.layer(x)


@pytest.mark.parametrize("build", [Talks, lambda: make("decides in Python")[0], lambda: make("numpy")[0]])
def test_nothing_is_printed_and_no_warning_comes_through(tmp_path, capfd, build):
    model, records = build(), []
    handler = logging.Handler()
    handler.emit = records.append
    logging.root.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            with Recorder("t", root=tmp_path, quiet=True, system_every_s=None) as rec:
                rec.program(model, torch.ones(3, 4))
    finally:
        logging.root.removeHandler(handler)
    assert capfd.readouterr() == ("", "")
    assert shown == []
    assert records == []


def test_warnings_that_are_errors_are_no_obstacle(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert capture(Talks(), (torch.ones(3, 4),), {}).document["route"] == "export"
