"""Comparisons against SciPy and by hand."""

import numpy as np
import pytest
from scipy import special, stats

from explorer.errors import UsageError
from explorer.inference import outcome

RNG = np.random.default_rng(0)


def test_probabilities_and_divergences_are_scipys():
    before, after = RNG.normal(size=(2, 6, 10)) * 5
    assert np.allclose(outcome.log_probabilities(before), special.log_softmax(before, axis=-1))
    wanted = stats.entropy(special.softmax(before, axis=-1), special.softmax(after, axis=-1), axis=-1)
    assert np.allclose(outcome.kl_divergence(before, after), wanted)
    assert np.array_equal(outcome.kl_divergence(before, before), np.zeros(6))


def test_logits_of_minus_infinity_and_of_a_thousand_are_no_trouble():
    masked = np.array([1.0, -np.inf, 2.0])
    assert outcome.kl_divergence(masked, masked) == 0
    assert outcome.kl_divergence(masked, np.array([1.0, 0.0, 2.0])) == pytest.approx(
        stats.entropy(special.softmax(masked), special.softmax([1.0, 0.0, 2.0]))
    )
    assert np.isfinite(outcome.kl_divergence(np.array([1000.0, 0.0]), np.array([0.0, 1000.0])))


def test_ranks_are_scipys_and_equal_scores_keep_their_order():
    scores = RNG.integers(0, 5, 30)
    assert np.array_equal(outcome.ranks(scores), stats.rankdata(-scores, method="ordinal"))


def test_a_class_change_tells_every_class():
    before, after = np.array([1.0, 3.0, 2.0]), np.array([4.0, 3.0, 2.5])
    change = outcome.class_change(before, after, ["cat", "dog", "owl"])
    assert (change.predicted_before, change.predicted_after, change.flipped) == (1, 0, True)
    assert list(change.table["name"]) == ["dog", "owl", "cat"]
    assert list(change.table["rank_change"]) == [-1, -1, 2]
    assert list(change.table["logit_change"]) == [0.0, 0.5, 3.0]
    assert change.table["probability_change"].sum() == pytest.approx(0)
    assert change.kl == pytest.approx(stats.entropy(special.softmax(before), special.softmax(after)))


def test_no_change_is_no_change():
    logits = RNG.normal(size=10)
    change = outcome.class_change(logits, logits)
    assert (change.kl, change.flipped) == (0.0, False)
    assert not change.table[["logit_change", "probability_change", "rank_change"]].to_numpy().any()


def test_the_most_probable_come_first():
    table = outcome.top_k(np.array([0.0, 2.0, 1.0]), 2, ["a", "b", "c"])
    assert list(table["name"]) == ["b", "c"]
    assert table["probability"].iloc[0] == pytest.approx(special.softmax([0, 2, 1])[1])


def test_tokens_are_compared_at_every_position():
    before, after = RNG.normal(size=(2, 4, 6))
    after[1] = before[1]
    table = outcome.token_change(before, after, list("abcdef"))
    assert list(table["token_before"]) == ["abcdef"[index] for index in before.argmax(1)]
    assert table["kl"].iloc[1] == 0
    kept = special.softmax(after, axis=1)[range(4), before.argmax(1)]
    assert np.allclose(table["probability_kept"], kept)
    assert list(table["flipped"]) == list(before.argmax(1) != after.argmax(1))


def test_regression_values_are_compared_with_their_relative_change():
    table = outcome.value_change(np.array([2.0, 0.0, -4.0]), np.array([3.0, 1.0, -5.0]), ["x", "y", "z"])
    assert list(table["change"]) == [1.0, 1.0, -1.0]
    assert table["relative_change"].tolist() == pytest.approx([0.5, float("nan"), -0.25], nan_ok=True)


def test_the_effect_of_a_patch_is_a_share_of_the_way():
    assert outcome.patching_effect(1.0, 3.0, 1.0) == 0
    assert outcome.patching_effect(1.0, 3.0, 3.0) == 1
    assert outcome.patching_effect(1.0, 3.0, 1.5) == 0.25
    assert outcome.patching_effect(1.0, 1.0005, 2.0) is None
    assert outcome.patching_effect(0.0, 0.0, 2.0) is None


def test_images_are_compared_pixel_by_pixel():
    before = RNG.uniform(size=(3, 8, 8))
    change, facts = outcome.image_change(before, before + 0.1)
    assert np.allclose(change, 0.1)
    assert facts["rms"] == pytest.approx(0.1)
    assert facts["psnr_db"] == pytest.approx(20 * np.log10(np.ptp(before) / 0.1))
    assert outcome.image_change(before, before)[1] == {"rms": 0.0, "largest": 0.0, "psnr_db": float("inf")}


def test_the_effect_on_a_probe_set_counts_flips_fixed_and_broken():
    before = np.eye(4) * 9
    after = before[[0, 1, 3, 3]]
    effect = outcome.probe_effect(before, after, np.array([0, 0, 3, -1]))
    assert (effect.num_examples, effect.num_flips) == (4, 1)
    assert (effect.accuracy_before, effect.accuracy_after) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (effect.num_fixed, effect.num_broken) == (1, 0)
    assert effect.share_affected == 0.25
    assert effect.mean_kl == pytest.approx(outcome.kl_divergence(before, after).mean())
    unlabelled = outcome.probe_effect(before, after)
    assert (unlabelled.accuracy_before, unlabelled.num_fixed) == (None, None)


def test_the_effect_on_tokens_counts_positions():
    before = RNG.normal(size=(3, 5, 7))
    effect = outcome.probe_effect(before, before, before.argmax(-1))
    assert (effect.num_examples, effect.num_flips, effect.accuracy_after) == (15, 0, 1.0)


def test_the_effect_on_regression_values_has_their_errors():
    before, targets = RNG.normal(size=(2, 20, 1))
    effect = outcome.value_effect(before, before + 0.5, targets[:, 0])
    assert (effect.num_examples, effect.mean_change) == (20, pytest.approx(0.5))
    assert effect.error_before == pytest.approx(np.sqrt(np.mean((before - targets) ** 2)))
    assert outcome.value_effect(before, before).error_before is None


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: outcome.class_change(np.zeros(3), np.zeros(4)), r"found \(3,\) and \(4,\)"),
        (lambda: outcome.class_change(np.zeros((1, 3)), np.zeros((1, 3))), "one shape of 1 dimensions"),
        (lambda: outcome.class_change(np.zeros(3), np.zeros(3), ["a"]), "a name for each of 3 outputs; found 1"),
        (
            lambda: outcome.probe_effect(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3, int)),
            r"shape \(2,\); found \(3,\)",
        ),
        (lambda: outcome.probe_effect(np.zeros(3), np.zeros(3)), r"\[N, C\]"),
        (lambda: outcome.value_effect(np.zeros(3), np.zeros(3), np.zeros(2)), r"shape \(3,\); found \(2,\)"),
    ],
)
def test_what_cannot_be_compared_is_said(call, text):
    with pytest.raises(UsageError, match=text):
        call()
