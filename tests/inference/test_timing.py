"""Times of modules add up, are those of the operators in them, and tell on what they were measured."""

import pytest

from explorer.inference.edits.apply import apply
from explorer.inference.modules import module_tree, path_of
from explorer.inference.timing import MAX_RUNS, MIN_RUNS, measure


@pytest.fixture(scope="module")
def measured(digits):
    told = []
    found = measure(apply((), digits.subject(), {digits.path: digits.inputs}), lambda done, of: told.append((done, of)))
    return digits.subject().interpreter.program, found, told


def test_every_module_and_every_operator_has_a_time(measured):
    program, found, _ = measured
    assert found.node_ms.keys() == {node.name for node in program.graph.nodes}
    assert all(spent >= 0 for spent in found.node_ms.values())
    computing = {path for path, module in module_tree(program).items() if module.num_nodes}
    assert found.total_ms.keys() == computing
    assert found.self_ms.keys() == {path_of(program, node) for node in program.graph.nodes}


def test_a_module_takes_what_its_operators_take_and_the_model_takes_most(measured):
    program, found, _ = measured
    for path in found.self_ms:
        inside = [found.node_ms[node.name] for node in program.graph.nodes if path_of(program, node) == path]
        assert found.self_ms[path] <= 3 * sum(inside) + 0.05
        assert found.total_ms[path] >= 0.5 * max(inside)
    assert all(spent <= 1.5 * found.total_ms[""] for spent in found.total_ms.values())
    assert found.whole_ms > 0


def test_it_tells_how_often_and_on_what_it_was_measured(measured):
    _, found, told = measured
    assert MIN_RUNS <= found.num_runs <= MAX_RUNS
    assert told[-1] == (found.num_runs, found.num_runs)
    assert found.device
    assert found.num_threads >= 1
