"""The alarm against its formula, and on a tensor that is swapped once."""

import numpy as np
import pytest

from explorer.analysis.drift import drift_matrix, history_alarm
from explorer.analysis.drift_history import GrowingAlarm
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


def test_distances_that_grow_are_scored_as_if_they_came_at_once(rng):
    distance = rng.random((7, 300)) ** 4
    distance[rng.random(distance.shape) < 0.1] = np.nan
    growing = GrowingAlarm()
    for num in (0, 10, 60, 61, 61, 200, 300):
        found, expected = growing.alarm(distance[:, :num]), history_alarm(distance[:, :num])
        np.testing.assert_array_equal(found.z, expected.z)
        np.testing.assert_array_equal(found.alarm, expected.alarm)


def test_distances_that_changed_are_scored_anew(rng):
    distance = rng.random((3, 120))
    growing = GrowingAlarm()
    growing.alarm(distance)
    changed = distance.copy()
    changed[1, 70] = 50.0
    for after in (changed, changed[:, :90], distance[:2], distance):
        np.testing.assert_array_equal(growing.alarm(after).z, history_alarm(after).z)


def test_what_did_not_change_is_not_scored_again(rng, monkeypatch):
    distance = rng.random((3, 500))
    growing = GrowingAlarm()
    growing.alarm(distance[:, :490])
    widths = []

    def noted(values):
        widths.append(values.shape[1])
        return history_alarm(values)

    monkeypatch.setattr("explorer.analysis.drift_history.history_alarm", noted)
    growing.alarm(distance)
    assert widths == [60]
