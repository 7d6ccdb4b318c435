"""Trajectories against scikit-learn's PCA of the flattened models, and random walks."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from explorer.analysis import trajectories
from explorer.analysis.trajectories import random_walk_shares, trajectory


def model(rng, num_snapshots=12):
    """A weight and a bias over steps, far from 0 and moving little, as in a training."""
    steps = np.arange(num_snapshots)
    weight = 3 + rng.standard_normal((1, 20, 30)) + 0.01 * np.sqrt(steps)[:, None, None] * rng.standard_normal((20, 30))
    weight = weight + 0.002 * rng.standard_normal(weight.shape)
    bias = 0.1 * steps[:, None] * rng.standard_normal(20)
    return [list(weight.astype(np.float32)), list(bias.astype(np.float32))]


def test_axes_and_shares_are_those_of_a_pca_of_the_flattened_models(rng):
    tensors = model(rng)
    flat = np.concatenate([np.stack([v.ravel() for v in values]) for values in tensors], axis=1).astype(float)
    pca = PCA(3).fit(flat)
    found = trajectory(tensors)
    np.testing.assert_allclose(found.explained, pca.explained_variance_ratio_, rtol=1e-9)
    theirs = pca.transform(flat)
    theirs *= np.where(theirs[-1] < theirs[0], -1, 1)
    np.testing.assert_allclose(found.coordinates, theirs, atol=1e-9)


def test_pieces_of_a_tensor_add_up(rng, monkeypatch):
    tensors = model(rng)
    whole = trajectory(tensors)
    monkeypatch.setattr(trajectories, "_MAX_VALUES", 12 * 7)
    np.testing.assert_allclose(trajectory(tensors).coordinates, whole.coordinates, atol=1e-10)


def test_tensors_may_come_one_at_a_time(rng):
    tensors = model(rng)
    assert trajectory(iter(tensors)).explained.tolist() == trajectory(tensors).explained.tolist()


def test_a_random_walk_is_told_as_one(rng):
    walk = rng.standard_normal((60, 20_000)).cumsum(axis=0)
    found = trajectory([list(walk)])
    np.testing.assert_allclose(found.explained, found.random_walk, rtol=0.06)
    assert random_walk_shares(5000)[0] == pytest.approx(6 / np.pi**2, abs=1e-4)
    assert random_walk_shares(60).sum() == pytest.approx(1)


def test_the_baseline_is_the_spectrum_of_a_walks_covariance():
    steps = np.arange(1, 10)
    covariance = np.minimum.outer(steps, steps).astype(float)
    centre = np.eye(9) - 1 / 9
    eigenvalues = np.linalg.eigvalsh(centre @ covariance @ centre)[::-1][:8]
    np.testing.assert_allclose(random_walk_shares(9), eigenvalues / eigenvalues.sum())


def test_a_straight_line_is_one_axis_from_first_to_last(rng):
    direction = rng.standard_normal((5, 4))
    found = trajectory([[step * direction for step in range(6)]], num_components=2)
    assert found.explained.tolist() == pytest.approx([1, 0])
    np.testing.assert_allclose(found.coordinates[:, 0], (np.arange(6) - 2.5) * np.linalg.norm(direction))


def test_a_model_that_stays_goes_nowhere():
    found = trajectory([[np.ones(3)] * 4])
    assert found.explained.tolist() == [0, 0, 0]
    assert not found.coordinates.any()
    assert trajectory([[np.ones(3), np.zeros(3)]]).coordinates.shape == (2, 1)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([], "at least two snapshots"),
        ([[np.ones(2)]], "at least two snapshots"),
        ([[np.ones(2), np.ones(3)]], r"2 snapshots of one shape, got 2 of \(2,\), \(3,\)"),
        ([[np.ones(2)] * 3, [np.ones(2)] * 2], "expected 3 snapshots"),
        ([[np.ones(2), np.array([1.0, np.nan])]], "NaN or infinite"),
    ],
)
def test_what_is_no_trajectory_is_named(tensors, reason):
    with pytest.raises(ValueError, match=reason):
        trajectory(tensors)
