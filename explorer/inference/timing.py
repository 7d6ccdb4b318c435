"""How long each module of a model takes, on the device that it runs on.

On a GPU by CUDA's events between operators, else by the clock: the time that the user waits, on all threads together.
Taking the time costs about a microsecond an operator on a CPU, so the whole is also measured without it.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Protocol

import torch

from explorer.inference.edits.apply import Edited
from explorer.inference.modules import outwards, path_of

NUM_WARM_UP: Final = 3
MAX_RUNS: Final = 25
MIN_RUNS: Final = 3
BUDGET_S: Final = 5.0


class _Clock(Protocol):
    def mark(self) -> Any: ...  # noqa: ANN401 - a moment
    def between_ms(self, one: Any, other: Any) -> float: ...  # noqa: ANN401
    def wait(self) -> None: ...


@dataclass(frozen=True)
class ModuleTimes:
    """Milliseconds of one run of a model: medians over the runs.

    Attributes:
        total_ms: of each module and what is in it, by path; "" is the whole model.
        self_ms: of the operators that belong to a module itself, by path.
        node_ms: of each operator, by name.
        whole_ms: of a run in which nothing is measured but its begin and end.
        num_runs: how many runs were measured.
        device: its name.
        num_threads: of PyTorch on the CPU; None on another device.
    """

    total_ms: dict[str, float]
    self_ms: dict[str, float]
    node_ms: dict[str, float]
    whole_ms: float
    num_runs: int
    device: str
    num_threads: int | None


def measure(edited: Edited, on_run: Callable[[int, int], None] = lambda done, of: None) -> ModuleTimes:
    """Run the model some times and return how long its modules take.

    Args:
        edited: the model and its input.
        on_run: called with (runs done, runs in all).
    """
    device = torch.device(edited.subject.device)
    clock: _Clock = _Events() if device.type == "cuda" else _Wall(device)
    program = edited.subject.interpreter.program
    began = time.perf_counter()
    for _ in range(NUM_WARM_UP):
        edited.run()
        clock.wait()
        if time.perf_counter() - began > BUDGET_S:
            break
    began = time.perf_counter()
    edited.run()
    clock.wait()
    num_runs = _num_runs(time.perf_counter() - began)
    nodes = [node.name for node in program.graph.nodes]
    owners = {node.name: path_of(program, node) for node in program.graph.nodes}
    runs: list[dict[str, float]] = []
    whole = []
    for done in range(num_runs):
        one = clock.mark()
        edited.run()
        other = clock.mark()
        clock.wait()
        whole.append(clock.between_ms(one, other))
        runs.append(_one_run(edited, clock))
        on_run(done + 1, num_runs)
    own: list[dict[str, float]] = [_by_module(run, owners, with_outer=False) for run in runs]
    total: list[dict[str, float]] = [_by_module(run, owners, with_outer=True) for run in runs]
    return ModuleTimes(
        total_ms=_medians(total),
        self_ms=_medians(own),
        node_ms=_medians([{name: run[name] for name in nodes if name in run} for run in runs]),
        whole_ms=median(whole),
        num_runs=num_runs,
        device=_name(device),
        num_threads=torch.get_num_threads() if device.type == "cpu" else None,
    )


def _num_runs(run_s: float) -> int:
    """As many as fit into the budget, twice each."""
    return min(MAX_RUNS, max(MIN_RUNS, int(BUDGET_S / max(2 * run_s, 1e-9))))


def _one_run(edited: Edited, clock: _Clock) -> dict[str, float]:
    """Milliseconds from the end of the operator before to the end of each; the first begins with the run."""
    marks: list[tuple[str, Any]] = [("", clock.mark())]
    edited.run(on_node=lambda node, value: marks.append((node.name, clock.mark())))
    clock.wait()
    return {name: clock.between_ms(before, mark) for (_, before), (name, mark) in itertools.pairwise(marks)}


def _by_module(run: dict[str, float], owners: dict[str, str], *, with_outer: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, spent_ms in run.items():
        path = owners[name]
        for module in ("", *outwards(path)) if with_outer else (path,):
            found[module] = found.get(module, 0.0) + spent_ms
    return found


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[0]}


class _Wall:
    """The clock of the machine, read when the device has done its work."""

    def __init__(self, device: torch.device) -> None:
        self._is_mps = device.type == "mps"

    def mark(self) -> float:
        self.wait()
        return time.perf_counter()

    def between_ms(self, one: float, other: float) -> float:
        return (other - one) * 1e3

    def wait(self) -> None:
        if self._is_mps:
            torch.mps.synchronize()


class _Events:
    """Events in the stream of a GPU: it is not held up by being measured."""

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def between_ms(self, one: torch.cuda.Event, other: torch.cuda.Event) -> float:
        return float(one.elapsed_time(other))

    def wait(self) -> None:
        torch.cuda.synchronize()


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            named = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        named = []
    return next(iter(named), platform.processor() or platform.machine()) or "CPU"
