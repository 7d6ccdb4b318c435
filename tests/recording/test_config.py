"""Settings of any kind become plain values that strict JSON holds; what cannot is kept as text and said."""

import argparse
import collections
import dataclasses
import enum
import json
import math
import pathlib
import types

import numpy as np
import pytest
import torch

from explorer import RecorderWarning, UsageError
from explorer.recording import config
from explorer.storage import records


@dataclasses.dataclass
class Model:
    width: int = 32
    act: str = "relu"


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    model: Model = dataclasses.field(default_factory=Model)


class Optimizer(enum.Enum):
    ADAM = "adam"


@pytest.fixture
def stored(record):
    """`stored(config)` is what run.json holds, read as strict JSON."""

    def store(config):
        recorder = record(config=config)
        recorder.close()

        def refuse(token):
            raise AssertionError(token)

        return json.loads((recorder.path / "run.json").read_bytes(), parse_constant=refuse)["config"]

    return store


@pytest.mark.parametrize(
    "config",
    [
        {"lr": 0.1, "model": {"width": 32, "act": "relu"}},
        Settings(),
        argparse.Namespace(lr=0.1, model=Model()),
        collections.OrderedDict(lr=0.1, model=argparse.Namespace(width=32, act="relu")),
        types.MappingProxyType({"lr": np.float64(0.1), "model": {"width": np.int64(32), "act": np.str_("relu")}}),
    ],
)
def test_dict_dataclass_and_namespace_say_the_same(stored, config):
    assert stored(config) == {"lr": 0.1, "model": {"width": 32, "act": "relu"}}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        (2**62, 2**62),
        (10**30, str(10**30)),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.array(3), 3),
        (Optimizer.ADAM, "ADAM"),
        (pathlib.PurePosixPath("data/train"), "data/train"),
        (torch.float32, "torch.float32"),
        (torch.device("cpu"), "cpu"),
        ((1, [2, {3}]), [1, [2, [3]]]),
        ({"b", "a"}, ["a", "b"]),
        ("half \udc80 character", "half ? character"),
        ("x" * 20_000, "x" * 10_000),
        ({1: {None: 2, (3, 4): 5}}, {"1": {"None": 2, "(3, 4)": 5}}),
        ({}, {}),
        ("", ""),
    ],
)
def test_a_value_that_json_can_say_is_kept(stored, value, kept):
    assert stored({"value": value}) == {"value": kept}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda: 0, "function"),
        (object(), "object"),
        (np.zeros(3), "ndarray"),
        (torch.zeros(2, 2), "Tensor"),
        (Model, "type"),
        (1j, "complex"),
        (b"bytes", "bytes"),
    ],
)
def test_a_value_that_json_cannot_say_is_kept_as_text_and_named(stored, value, kind):
    with pytest.warns(
        RecorderWarning, match=rf"config model\.odd is a {kind}, which JSON cannot hold: its text is kept"
    ):
        found = stored({"model": {"odd": value}, "lr": 0.1})
    assert found["lr"] == 0.1
    assert isinstance(found["model"]["odd"], str)


def test_settings_that_hold_themselves_do_not_go_on_for_ever(stored):
    config = {"lr": 0.1}
    config["self"], config["again"], config["list"] = config, config, [config, config]
    with pytest.warns(RecorderWarning):
        found = stored(config)
    assert found["lr"] == 0.1
    assert len(json.dumps(found)) < 5_000


def test_very_deep_settings_become_text_at_the_bottom(stored):
    config = bottom = {}
    for _ in range(200):
        bottom["deeper"] = bottom = {}
    with pytest.warns(RecorderWarning, match="deeper"):
        assert len(json.dumps(stored(config))) < 10_000


def test_an_object_that_cannot_even_be_shown_is_named(stored):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no")

    with pytest.warns(RecorderWarning, match="Hostile"):
        assert stored({"odd": Hostile()}) == {"odd": "<Hostile>"}


@pytest.mark.parametrize("config", [0.1, "lr=0.1", [("lr", 0.1)], Settings])
def test_settings_that_are_no_mapping_are_a_usage_error(record, config):
    with pytest.raises(UsageError, match=r"config should be a dict, a dataclass or an argparse.Namespace; found"):
        record(config=config)


def test_secrets_are_left_out(stored):
    found = stored({"lr": 0.1, "api_key": "sk-123456", "db": {"password": "hunter2"}})
    assert "sk-123456" not in json.dumps(found)
    assert "hunter2" not in json.dumps(found)
    assert found["lr"] == 0.1


def test_later_keys_are_merged_into_the_nested_settings(record, summary_of):
    recorder = record(config={"lr": 0.1, "model": {"width": 32}})
    recorder.config.update({"model": {"depth": 3}})
    recorder.config["best"] = np.float32(0.5)
    recorder.update_config({"lr": 0.2})
    recorder.close()
    expected = {"lr": 0.2, "model": {"width": 32, "depth": 3}, "best": 0.5}
    assert recorder.config.as_dict() == expected
    assert summary_of(recorder)["config"] == expected
    attempt = json.loads((recorder.path / "attempts" / "0001-00000.json").read_text())
    assert attempt["config"] == expected
    run = json.loads((recorder.path / "run.json").read_text())
    assert run["config"] == {"lr": 0.1, "model": {"width": 32}}


def test_settings_read_like_a_dict(record):
    config = record(config={"lr": 0.1, "model": {"width": 32}}).config
    assert config["lr"] == 0.1
    assert dict(config) == {"lr": 0.1, "model": {"width": 32}}
    assert "nothing" not in config
    with pytest.raises(KeyError):
        config["nothing"]


def test_a_config_of_many_megabytes_is_cut_to_what_readers_accept(record, summary_of):
    words = {f"w{index}": [float(index)] * 100 for index in range(5_000)}
    large = {"data": {"words": words, "name": "books"}, "table": [[0.5] * 1_000] * 500, "lr": 0.1}
    with pytest.warns(RecorderWarning, match=r"larger than 1 MiB as JSON: table, data\.words\.w\d+, .* more left out"):
        recorder = record(config=large)
    recorder.update_config({"later": 5})
    recorder.close()
    found = summary_of(recorder)["config"]
    assert len(json.dumps(found)) < 1.2 * 2**20
    assert (found["data"]["name"], found["lr"], found["later"]) == ("books", 0.1, 5)
    assert "table" not in found
    kept = found["data"]["words"]
    assert len(kept) > 500
    assert all(kept[name] == words[name] for name in kept)


@pytest.mark.parametrize("max_bytes", [2, 30, 100, 1_000, 10_000])
def test_cut_settings_fit_and_keep_the_smallest_of_each_level_in_order(max_bytes):
    values = {"big": "x" * 500, "deep": {"a": {"b": ["y" * 50] * 9, "c": 1}, "d": 2}, "e": 3}
    left_out = []
    found = config.limit(values, max_bytes, left_out)
    assert len(records.encode(found)) <= max_bytes
    assert list(found) == [key for key in values if key in found]
    assert (found == values) == (not left_out) == (max_bytes >= 10_000 or len(records.encode(values)) <= max_bytes)
    if max_bytes == 100:
        assert found == {"deep": {"a": {"c": 1}, "d": 2}, "e": 3}
        assert left_out == ["big", "deep.a.b"]
