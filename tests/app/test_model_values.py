"""A statistic of a module is that of all its tensors where that can be said exactly, else the one that stands out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from explorer.app.layers_data import STATISTICS
from explorer.app.model_paint import NOTHING, SIZE, Painting, first_choice, ink, scale
from explorer.app.model_shapes import dim_text, shape_text, size_names
from explorer.app.model_values import ModuleValue, TensorValue, joined
from explorer.storage.program_document import parse_program

PATHS = ("", "body", "body.inner", "head")
RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.normal(size=size) for name, size in {"body.a": 30, "body.inner.b": 7, "head.c": 12}.items()}
UPDATES = {name: 0.01 * RNG.normal(size=len(values)) for name, values in WEIGHTS.items()}


def all_of(arrays: dict[str, np.ndarray], path: str) -> np.ndarray:
    return np.concatenate([values for name, values in arrays.items() if name.startswith(path)])


def norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))


def test_a_norm_is_that_of_all_tensors_together() -> None:
    found = joined(PATHS, {name: TensorValue(norm(values)) for name, values in WEIGHTS.items()}, STATISTICS["norm"])
    for path in PATHS:
        assert found[path].value == pytest.approx(norm(all_of(WEIGHTS, path)))
    assert found["head"] == ModuleValue(norm(WEIGHTS["head.c"]), "head.c", 1)


def test_an_update_ratio_is_that_of_all_tensors_together() -> None:
    tensors = {
        name: TensorValue(norm(UPDATES[name]) / norm(values), norm(values) ** 2) for name, values in WEIGHTS.items()
    }
    found = joined(PATHS, tensors, STATISTICS["update_ratio"])
    for path in PATHS:
        assert found[path].value == pytest.approx(norm(all_of(UPDATES, path)) / norm(all_of(WEIGHTS, path)))


def test_a_share_is_of_all_values_together() -> None:
    tensors = {"body.a": TensorValue(0.5, 30), "body.inner.b": TensorValue(0.0, 10)}
    assert joined(PATHS, tensors, STATISTICS["zeros"])["body"].value == pytest.approx(15 / 40)


@pytest.mark.parametrize(
    ("key", "values", "wanted"),
    [
        ("drift", (0.1, 0.4), "body.inner.b"),
        ("min", (-1.0, -3.0), "body.inner.b"),
        ("max", (2.0, 1.0), "body.a"),
        ("mean", (-0.5, 0.1), "body.a"),
        ("cosine_init", (0.9, 0.2), "body.inner.b"),
        ("drift", (0.9, math.nan), "body.inner.b"),
    ],
)
def test_of_other_statistics_the_one_that_stands_out_is_named(
    key: str, values: tuple[float, float], wanted: str
) -> None:
    tensors = dict(zip(("body.a", "body.inner.b"), map(TensorValue, values), strict=True))
    assert joined(PATHS, tensors, STATISTICS[key])["body"].of == wanted


def test_a_modules_own_activation_counts_and_not_those_inside() -> None:
    tensors = {"body": TensorValue(2.0), "body.inner": TensorValue(9.0), "model": TensorValue(1.0)}
    found = joined(PATHS, tensors, STATISTICS["act_max"])
    assert {path: value.value for path, value in found.items()} == {"": 1.0, "body": 2.0, "body.inner": 9.0}


def test_a_tied_tensor_counts_in_all_its_modules_and_once_above_them() -> None:
    found = joined(PATHS, {"body.a": TensorValue(3.0)}, STATISTICS["norm"], {"body.a": ("head.c",)})
    assert {path: value.value for path, value in found.items()} == {"": 3.0, "body": 3.0, "head": 3.0}


def test_a_scale_is_diverging_logarithmic_or_linear_as_its_values_ask() -> None:
    norms, means = Painting("norm", "Norm", is_log=True), Painting("mean", "Mean")
    logarithmic = scale(norms, [1e-3, 1.0], dark=False)
    assert logarithmic is not None
    assert (logarithmic.kind, logarithmic.share(10**-1.5)) == ("log", pytest.approx(0.5))
    diverging = scale(means, [-1.0, 3.0, math.nan], dark=True)
    assert diverging is not None
    assert (diverging.kind, diverging.low, diverging.high, diverging.share(0.0)) == ("diverging", -3.0, 3.0, 0.5)
    linear = scale(norms, [0.0, 2.0], dark=False)
    assert linear is not None
    assert (linear.kind, linear.low, linear.high) == ("linear", 0.0, 2.0)
    assert scale(means, [math.nan, math.inf], dark=False) is None
    assert linear.colour(0.0) == linear.colours[0]
    assert linear.colour(2.0) == linear.colours[-1]


def test_texts_can_be_read_on_every_colour_of_every_scale() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for dark in (False, True):
        for values in ([0.0, 1.0], [-1.0, 1.0]):
            found = scale(Painting("mean", "Mean"), values, dark)
            assert found is not None
            for value in np.linspace(*values, 101):
                fill = found.colour(float(value))
                high, low = sorted((luminance(fill), luminance(ink(fill))), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.3, fill


def test_what_is_painted_at_first_is_what_tells_most() -> None:
    assert first_choice(["none", "norm", "update_ratio", SIZE]) == "update_ratio"
    assert first_choice(["none", SIZE]) == SIZE
    assert first_choice([]) == NOTHING


def test_sizes_that_may_vary_have_the_letters_people_use() -> None:
    def names(shape: list[object], dtype: str) -> dict[str, str]:
        symbols = {dim: [0, None] for dim in shape if isinstance(dim, str)}
        found = {"name": "x", "path": "args[0]", "dtype": dtype, "shape": shape}
        document = {"route": "export", "torch": "2", "inputs": [found], "symbols": symbols, "graph": {}, "modules": []}
        return size_names(parse_program(document))

    assert names(["s0", 3, "s1", "s2"], "float32") == {"s0": "N", "s1": "H", "s2": "W"}
    assert names(["s0", "s1"], "int64") == {"s0": "N", "s1": "T"}
    assert names(["s0", "s1"], "float32") == {"s0": "N", "s1": "A"}
    assert shape_text(("s0", 16, "s1"), names(["s0", "s1"], "int64")) == "N × 16 × T"
    assert dim_text("(s1//2)", {"s1": "H"}) == "H//2"
