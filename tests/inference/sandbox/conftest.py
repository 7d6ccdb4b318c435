"""A sandbox with the digits model, and what is sent to it."""

import pytest

from explorer.inference.sandbox.session import Sandbox


def as_arrays(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def sent(case):
    """A model as plain data."""
    return {
        "program": case.document,
        "constants": as_arrays(case.constants),
        "weights": as_arrays(case.weights),
        "probe": {case.path: case.inputs.numpy()},
    }


@pytest.fixture(scope="session")
def sandbox(digits, characters):
    """One child for all tests that leave it as it was."""
    with Sandbox() as found:
        found.add_model("digits", lambda: sent(digits))
        found.add_model("characters", lambda: sent(characters))
        yield found
