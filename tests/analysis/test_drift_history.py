"""The alarm against its formula, and on a tensor that is swapped once."""

import numpy as np
import pytest

from explorer.analysis.drift import drift_matrix, history_alarm
from explorer.storage.bins import concatenate, histogram_of


def test_one_swapped_layer_is_an_alarm_and_a_healthy_drift_is_none(rng):
    tensor = rng.standard_normal(3000)
    parts = []
    for step in range(120):
        tensor = tensor * 1.002 + 0.01 * rng.standard_normal(3000)
        parts.append(histogram_of(np.abs(tensor) if step == 80 else tensor, step))
    distance = drift_matrix({"w": concatenate(parts)}, "previous", "wasserstein").values
    found = history_alarm(distance)
    assert found.alarm[0].nonzero()[0].tolist() == [80, 81]  # there and back
    assert np.isnan(found.z[0, :21]).all()


def test_the_score_is_median_and_mad_of_the_window_before(rng):
    distance = rng.random(200)
    distance[[5, 60]] = np.nan
    found = history_alarm(distance, window=30)
    for i in (40, 61, 199):
        past = distance[max(i - 30, 0) : i]
        past = past[np.isfinite(past)]
        mad = np.median(np.abs(past - np.median(past)))
        assert found.z[i] == pytest.approx((distance[i] - np.median(past)) / (1.4826 * mad))
    assert np.isnan(found.z[60])


def test_history_begins_anew_at_a_reset():
    distance = np.concatenate([np.full(30, 0.01), np.full(30, 0.4)]) + np.resize([0, 0.001], 60)
    assert history_alarm(distance).alarm[30]
    assert not history_alarm(distance, resets=[30]).alarm.any()
    assert np.isfinite(history_alarm(distance, resets=[30]).z).nonzero()[0].tolist() == [*range(20, 30), *range(50, 60)]


def test_small_distances_and_short_histories_are_no_alarm():
    assert not history_alarm([0.0001] * 30 + [0.05]).alarm.any()
    assert not history_alarm([0.01] * 19 + [0.9]).alarm.any()
    assert history_alarm([0.0] * 20 + [0.9]).z[-1] == np.inf
    assert history_alarm([]).alarm.shape == (0,)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"least_points": 0}, {"resets": [3]}, {"resets": [-1]}])
def test_a_wrong_argument_of_the_alarm_is_named(wrong):
    with pytest.raises(ValueError, match=r"at least 1|positions from 0 to 2"):
        history_alarm([0.1, 0.2, 0.3], **wrong)
