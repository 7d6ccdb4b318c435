"""Singular values against numpy and closed forms, tails against laws that are known and against weightwatcher."""

import warnings

import numpy as np
import pytest

from explorer.analysis import spectra
from explorer.analysis.spectra import power_law_tail, spectrum, weight_tail


def ranks(weight):
    found = spectrum(weight)
    return found.stable_rank, found.effective_rank, found.participation_ratio


def test_an_identity_has_every_rank_it_can_have():
    assert ranks(np.eye(16)) == pytest.approx((16, 16, 16))


def test_ranks_of_a_diagonal_are_those_by_hand():
    assert ranks(np.diag([2.0, 1.0, 1.0])) == pytest.approx((1.5, 2.0**1.5, 2.0))


def test_ranks_do_not_depend_on_size_or_rotation(rng):
    weight = rng.standard_normal((20, 30))
    rotation, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    assert ranks(1e-150 * rotation @ weight) == pytest.approx(ranks(weight))
    assert ranks(1e150 * weight.T) == pytest.approx(ranks(weight))


def test_a_product_of_narrow_matrices_has_their_rank(rng):
    weight = (rng.standard_normal((60, 3)) @ rng.standard_normal((3, 50))).astype(np.float32)
    assert all(1 <= rank <= 3.001 for rank in ranks(weight))


def test_the_largest_value_of_noise_is_at_the_edge_of_its_law(rng):
    weight = rng.standard_normal((400, 1600)) / np.sqrt(1600)
    found = spectrum(weight).singular_values
    assert found[0] == pytest.approx(1 + np.sqrt(400 / 1600), rel=0.02)  # Marchenko and Pastur
    assert found[-1] == pytest.approx(1 - np.sqrt(400 / 1600), rel=0.03)


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (5, 40), (40, 5), (4, 6, 7)])
def test_values_are_those_of_numpy_for_the_flattened_weight(shape, rng):
    weight = rng.standard_normal(shape).astype(np.float32)
    true = np.linalg.svd(weight.reshape(shape[0], -1).astype(float), compute_uv=False)
    np.testing.assert_allclose(spectrum(weight).singular_values, true, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2000, 700), (700, 2000), (9000, 120)])
def test_large_matrices_have_the_same_values(shape, rng):
    weight = (rng.standard_normal(shape) * np.geomspace(1, 1e-3, shape[1])).astype(np.float32)
    assert weight.size > spectra._MAX_SVD_VALUES
    true = np.linalg.svd(weight.astype(float), compute_uv=False)
    np.testing.assert_allclose(spectrum(weight).singular_values, true, rtol=1e-6, atol=1e-8 * true[0])


def test_a_weight_of_zeros_has_no_rank():
    assert ranks(np.zeros((3, 4))) == (0, 0, 0)
    assert np.isnan(weight_tail(np.zeros((3, 4))).alpha)


@pytest.mark.parametrize("alpha", [1.8, 3.0, 5.0])
def test_the_exponent_of_a_power_law_is_found(alpha, rng):
    values = rng.pareto(alpha - 1, 4000) + 1
    found = power_law_tail(values)
    assert found.alpha == pytest.approx(alpha, abs=4 * found.sigma)
    assert found.sigma == pytest.approx((found.alpha - 1) / np.sqrt(found.num_tail))


def test_a_tail_on_a_body_begins_where_the_law_begins(rng):
    values = np.concatenate([rng.uniform(0.1, 1, 2000), rng.pareto(1.5, 1000) + 1])
    found = power_law_tail(values)
    assert 0.6 < found.x_min < 1.3
    assert found.alpha == pytest.approx(2.5, abs=0.35)


def test_alpha_is_the_likelihood_estimate_above_x_min(rng):
    found = power_law_tail(rng.exponential(size=200))
    assert 2 <= found.num_tail <= 200
    values = np.random.default_rng(7).exponential(size=200)
    tail = values[values >= found.x_min]
    assert len(tail) == found.num_tail
    assert found.alpha == pytest.approx(1 + len(tail) / np.log(tail / found.x_min).sum())


@pytest.mark.parametrize("values", [[], [1.0], [1e-7, 2.0], [3.0] * 50, [0.0, 0.0]])
def test_too_few_or_equal_eigenvalues_have_no_law(values):
    assert np.isnan(power_law_tail(values).alpha)


def weightwatcher():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("weightwatcher")


def test_a_tail_is_that_of_weightwatcher(rng):
    fit = weightwatcher().WW_powerlaw.WWFit
    for weight in (rng.standard_normal((60, 90)), rng.standard_t(3, (80, 80)), rng.standard_normal((200, 30))):
        values = np.linalg.svd(weight, compute_uv=False) ** 2
        theirs, ours = fit(values), weight_tail(weight)
        assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-6)
        assert ours.sigma == pytest.approx(theirs.sigma, rel=1e-6)
        assert ours.x_min == pytest.approx(theirs.xmin)
        assert ours.distance == pytest.approx(theirs.D)


def test_a_convolution_pools_the_eigenvalues_of_each_place_of_its_kernel(rng):
    weight = rng.standard_normal((12, 10, 3, 3))
    pooled = [np.linalg.svd(weight[:, :, i, j], compute_uv=False) ** 2 for i in range(3) for j in range(3)]
    assert weight_tail(weight) == pytest.approx(power_law_tail(np.concatenate(pooled)))


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((0, 3)), "real matrix"),
        (np.ones((2, 2), complex), "complex"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
    ],
)
def test_what_has_no_spectrum_is_named(weight, reason):
    for function in (spectrum, weight_tail):
        with pytest.raises(ValueError, match=reason):
            function(weight)
