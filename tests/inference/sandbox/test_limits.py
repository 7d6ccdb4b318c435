"""Time, memory, crashes and cancellations: a clear message, and the next request works."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from explorer.errors import OutOfMemory, RunCancelled, SandboxError, UsageError
from explorer.inference.sandbox.session import Sandbox
from tests.inference.sandbox.conftest import sent

ROOT = Path(__file__).parents[3]


def is_alive(pid):
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def slow(node):
    """A sweep that takes many seconds."""
    return {
        "key": "digits",
        "edits": [{"edit": "ablate", "node": node, "part": f"channel:{i % 16}"} for i in range(2000)],
    }


@pytest.fixture(scope="module")
def own(digits):
    """A sandbox that may be ruined."""
    with Sandbox(memory_bytes=2**30) as found:
        found.add_model("digits", lambda: sent(digits))
        yield found


def works(sandbox):
    return sandbox.request("run", {"key": "digits"})["after"][""].shape == (64, 10)


def program_of(*nodes, output):
    """A program of a stranger's."""
    document = {
        "format": 1, "route": "export", "why": [], "torch": "2.13.0", "step": 0, "autocast": "", "symbols": {},
        "inputs": [{"name": "x", "path": "x", "dtype": "float32", "shape": [1]}],
        "weights": {}, "ties": [], "modules": [], "check": {}, "output_paths": [""],
        "graph": {"nodes": list(nodes), "outputs": [{"node": output}]},
    }  # fmt: skip
    return {"program": document, "constants": {}, "weights": {}, "probe": {"x": np.zeros(1, np.float32)}}


def node(name, op, *args, shape=()):
    return {"name": name, "op": op, "args": list(args), "dtype": "float32", "shape": list(shape)}


def matmuls(size):
    """A single operator that works for long and looks at no cancellation."""
    ones = node("ones", "aten.full.default", [size, size], 1.0, shape=[size, size])
    steps = [
        node(f"m{i}", "aten.mm.default", {"node": "ones"}, {"node": "ones"}, shape=[size, size]) for i in range(30)
    ]
    return program_of(ones, *steps, node("s", "aten.sum.default", {"node": "m29"}), output="s")


def test_a_run_that_takes_too_long_is_stopped(own, digits):
    assert works(own)
    with pytest.raises(SandboxError, match=r"stopped: it took more than 0.5 s. Use a smaller input, or start the app"):
        own.request("sweep", slow(digits.node("relu", 1)), time_limit_s=0.5)
    assert own.pid is None
    assert works(own)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_a_run_that_needs_too_much_memory_is_stopped(own):
    hungry = program_of(
        node("x1", "aten.full.default", [10**12], 1.0), node("s", "aten.sum.default", {"node": "x1"}), output="s"
    )
    for size in (10**12, 2**29):
        hungry["program"]["graph"]["nodes"][0]["args"] = [[size], 1.0]
        own.add_model("hungry", lambda: hungry)
        with pytest.raises(OutOfMemory, match="more than the 1 GiB that the sandbox may take"):
            own.request("run", {"key": "hungry"})
        assert own.pid is None
        assert works(own)


def test_a_child_that_is_killed_in_the_middle_is_told_and_replaced(own, digits):
    assert works(own)
    first = own.pid

    def kill(_done, _total):
        os.kill(first, signal.SIGKILL)

    with pytest.raises(SandboxError, match=f"ended by signal {int(signal.SIGKILL)}"):
        own.request("sweep", slow(digits.node("relu", 1)), on_progress=kill)
    assert works(own)
    assert own.pid != first


def test_a_run_is_cancelled_and_the_child_stays_warm(own, digits):
    assert works(own)
    pid = own.pid
    with pytest.raises(RunCancelled, match="was cancelled"):
        own.request("sweep", slow(digits.node("relu", 1)), on_progress=lambda *_: own.cancel())
    assert own.pid == pid
    assert works(own)
    time.sleep(1.2)  # the timer that would have insisted
    assert own.pid == pid


def test_a_run_that_does_not_listen_is_killed(own):
    own.add_model("busy", lambda: matmuls(4_000))
    timer = threading.Timer(1.0, own.cancel)
    timer.start()
    with pytest.raises(RunCancelled):
        own.request("run", {"key": "busy"})
    assert own.pid is None
    assert works(own)


def test_a_caller_that_stops_waiting_gets_a_new_child(own, digits):
    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.request("sweep", slow(digits.node("relu", 1)), on_progress=interrupt)
    assert works(own)


def test_cancelling_nothing_and_closing_twice_are_no_trouble():
    sandbox = Sandbox()
    sandbox.cancel()
    sandbox.close()
    sandbox.close()
    assert sandbox.pid is None


def test_a_sandbox_that_nobody_holds_leaves_no_process():
    sandbox = Sandbox()
    sandbox.start()
    pid = sandbox.pid
    assert is_alive(pid)
    del sandbox
    gc.collect()
    assert not is_alive(pid)


def test_two_sessions_have_a_child_each(own, sandbox):
    assert works(own)
    own.request("run", {"key": "digits", "recipe": [{"edit": "zero", "target": ""}]})
    answer = sandbox.request("run", {"key": "digits"})
    assert np.array_equal(answer["before"][""], answer["after"][""])
    assert own.pid != sandbox.pid
    with pytest.raises(UsageError, match="holds no model 'busy'"):
        sandbox.request("run", {"key": "busy"})


def test_limits_that_make_no_sense_are_refused():
    for wrong in ({"time_limit_s": 0}, {"memory_bytes": 1000}):
        with pytest.raises(UsageError, match="limit should be"):
            Sandbox(**wrong)


def test_a_child_ends_with_its_parent(tmp_path):
    code = (
        "import os; from explorer.inference.sandbox.session import Sandbox; s = Sandbox(); s.start(); "
        "print(s.pid, flush=True); os._exit(0)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT).stdout)
    deadline = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_a_child_imports_nothing_from_the_working_directory(tmp_path):
    for name in ("torch", "numpy", "sitecustomize", "explorer"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); from explorer.inference.sandbox.session import Sandbox; "
        "sys.path.insert(0, ''); s = Sandbox(); s.start(); s.close()"
    )
    environment = {**os.environ, "PYTHONPATH": "."}
    subprocess.run(
        [sys.executable, "-P", "-E", "-c", code],
        check=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert not (tmp_path / "marker").exists()


def test_the_page_that_asks_needs_no_torch():
    code = (
        "import explorer.inference.sandbox.session, explorer.inference.edits.recipe, explorer.inference.outcome, sys; "
    )
    found = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert found.stdout.strip() == "False"
