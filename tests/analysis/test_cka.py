"""CKA against torch-cka's formula, and what it must and must not see."""

import numpy as np
import pytest
import torch

from explorer.analysis.cka import cka


def one_batch(*layers):
    return [(layers, layers)]


def torch_hsic(k, other):
    """The unbiased HSIC of two kernels, written out with torch in the manner of torch-cka."""
    n, one = k.shape[0], torch.ones(k.shape[0], 1, dtype=torch.float64)
    k, other = (kernel - torch.diag(torch.diag(kernel)) for kernel in (k, other))
    total = torch.trace(k @ other)
    total = total + (one.T @ k @ one @ one.T @ other @ one) / ((n - 1) * (n - 2))
    total = total - 2 / (n - 2) * (one.T @ k @ other @ one)
    return float(total) / (n * (n - 3))


def test_the_matrix_is_that_of_torch_written_out(rng):
    widths, others = (5, 40, 12), (8, 30)
    batches = []
    for size in (16, 16, 9):
        base = rng.standard_normal((size, 6))
        batches.append(
            tuple(
                [base @ rng.standard_normal((6, w)) + rng.standard_normal(w) for w in side] for side in (widths, others)
            )
        )
    true = np.zeros((3, 2))
    sums = {}
    for first, second in batches:
        layers = {**{("a", i): x for i, x in enumerate(first)}, **{("b", i): x for i, x in enumerate(second)}}
        kernels = {key: torch.from_numpy(x @ x.T) for key, x in layers.items()}
        for one in kernels:
            for other in kernels:
                sums[one, other] = sums.get((one, other), 0) + torch_hsic(kernels[one], kernels[other])
    for i in range(3):
        for j in range(2):
            own = sums[("a", i), ("a", i)] * sums[("b", j), ("b", j)]
            true[i, j] = sums[("a", i), ("b", j)] / np.sqrt(own)
    np.testing.assert_allclose(cka(batches), true, rtol=1e-8)


def test_the_hsic_is_that_of_the_package(rng):
    package = pytest.importorskip("torch_cka.cka")
    a, b = rng.standard_normal((20, 7)), rng.standard_normal((20, 5))
    k, other = (torch.from_numpy((x @ x.T).astype(np.float32)).fill_diagonal_(0) for x in (a, b))

    class Device:
        device = "cpu"

    theirs = package.CKA._HSIC(Device(), k, other)
    own = package.CKA._HSIC(Device(), k, k) * package.CKA._HSIC(Device(), other, other)
    assert cka([([a], [b])])[0, 0] == pytest.approx(theirs / np.sqrt(own), abs=1e-4)


def test_rotation_scale_shift_and_order_of_features_change_nothing(rng):
    x = rng.standard_normal((64, 20))
    rotation, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    for y in (x @ rotation, 7 * x, x + 1e4 * rng.standard_normal(20), x[:, rng.permutation(20)]):
        assert cka([([x], [y])])[0, 0] == pytest.approx(1, abs=1e-9)


def test_unrelated_features_are_about_0_where_the_biased_form_says_0_9(rng):
    x, y = rng.standard_normal((2, 64, 512))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    biased = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert biased > 0.85
    assert abs(cka([([x], [y])])[0, 0]) < 0.06


def test_small_batches_agree_with_the_whole(rng):
    x = rng.standard_normal((4096, 30))
    y = x @ rng.standard_normal((30, 40)) + 2 * rng.standard_normal((4096, 40))
    whole = cka([([x], [y])])[0, 0]
    parts = cka(([x[i : i + 32]], [y[i : i + 32]]) for i in range(0, 4096, 32))[0, 0]
    assert parts == pytest.approx(whole, abs=0.02)


def test_a_few_moved_examples_change_it_at_will(rng):
    x = rng.standard_normal((4096, 30))
    moved = x.copy()
    moved[:20] += 100
    assert cka([([x], [moved])])[0, 0] < 0.5


def test_a_layer_with_itself_is_one_and_the_matrix_is_symmetric(rng):
    layers = [rng.standard_normal((32, *shape)).astype(np.float32) for shape in ((6,), (3, 4, 4), (11,))]
    found = cka(one_batch(*layers))
    np.testing.assert_allclose(np.diag(found), 1)
    np.testing.assert_allclose(found, found.T)


def test_a_layer_that_does_not_vary_or_is_not_finite_has_no_similarity(rng):
    x = rng.standard_normal((8, 5))
    broken = x.copy()
    broken[0, 0] = np.nan
    found = cka(one_batch(x, np.full((8, 3), 0.1), broken))
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[1:]).all()
    assert np.isnan(found[:, 1:]).all()


@pytest.mark.parametrize(
    ("batches", "reason"),
    [
        ([], "at least one batch"),
        ([([np.ones((3, 2))], [np.ones((3, 2))])], r"at least 4, got \[3\]"),
        ([([np.ones((5, 2))], [np.ones((6, 2))])], r"got \[5, 6\]"),
        ([([np.ones((5, 2))] * n, [np.ones((5, 2))]) for n in (1, 2)], "as many layers as the first"),
    ],
)
def test_batches_that_do_not_fit_are_named(batches, reason):
    with pytest.raises(ValueError, match=reason):
        cka(batches)
