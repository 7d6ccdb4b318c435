import importlib
import inspect
import pkgutil

import pytest

import explorer
from explorer import errors

NAMES = [
    "DamagedFile",
    "EarlyThenEvery",
    "Every",
    "ExplorerError",
    "LogSpaced",
    "MetricNotFound",
    "ProgramError",
    "Recorder",
    "RecorderWarning",
    "RootError",
    "RunNotFound",
    "SnapshotNotFound",
    "TensorNotFound",
    "UnsupportedFormat",
    "UsageError",
    "__version__",
    "apply_recipe",
    "curves",
    "list_runs",
    "load_model",
    "open_run",
]


def test_the_public_names_are_these_and_no_others():
    assert sorted(explorer.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(explorer, name)
    if callable(value):
        assert inspect.getdoc(value)


def test_the_names_are_offered_for_completion():
    assert set(explorer.__all__) <= set(dir(explorer))


def test_an_unknown_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = explorer.nothing_like_this


def test_every_error_can_be_caught_as_ours():
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    raised = [value for value in classes if issubclass(value, Exception) and not issubclass(value, Warning)]
    assert len(raised) > 5
    assert all(issubclass(error, explorer.ExplorerError) for error in raised)


def test_every_public_error_is_the_one_in_the_tree():
    for name in NAMES:
        value = getattr(explorer, name)
        if inspect.isclass(value) and issubclass(value, Exception):  # warnings too
            assert value is getattr(errors, name)


def test_every_module_says_what_it_is_for():
    names = [module.name for module in pkgutil.walk_packages(explorer.__path__, "explorer.")]
    drawn_when_imported = ("explorer.app.pages", "explorer.__main__")
    for name in names:
        if not name.startswith(drawn_when_imported):
            assert inspect.getdoc(importlib.import_module(name)), name
