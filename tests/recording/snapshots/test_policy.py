"""When snapshots are taken and which ones stay, on simulated runs."""

import math

import pytest

from explorer.errors import UsageError
from explorer.recording.snapshots.policy import BestSoFar, Kept, Policy, next_to_drop
from explorer.recording.snapshots.retention import Retention


def due_steps(policy, steps):
    """The steps at which a loop that asks at these steps gets a snapshot."""
    due, previous = [], None
    for step in steps:
        if policy.is_due(previous, step):
            due.append(step)
        previous = step
    return due


def test_every_hundredth_step():
    assert due_steps(Policy(every=100), range(501)) == [0, 100, 200, 300, 400, 500]


def test_log_spaced_steps_are_one_two_five_of_each_power_of_ten():
    expected = [multiple * 10**power for power in range(5) for multiple in (1, 2, 5)]
    assert due_steps(Policy(log_spaced=True), range(100_000)) == expected


def test_wishes_add_up():
    assert due_steps(Policy(every=30, log_spaced=True), range(101)) == [0, 1, 2, 5, 10, 20, 30, 50, 60, 90, 100]


def test_a_loop_that_asks_now_and_then_gets_each_snapshot_at_the_next_step_it_asks_about():
    assert due_steps(Policy(every=100), range(64, 700, 64)) == [128, 256, 320, 448, 512, 640]
    assert due_steps(Policy(log_spaced=True), range(0, 70, 8)) == [8, 16, 24, 56]


def test_a_resumed_run_goes_on_with_the_schedule_and_does_not_catch_up():
    assert due_steps(Policy(every=100, log_spaced=True), range(250, 601)) == [300, 400, 500, 600]


def test_a_training_that_goes_back_gets_its_snapshots_again():
    assert due_steps(Policy(every=10), [9, 10, 11, 8, 9, 10]) == [10, 10]


def test_very_large_steps_keep_the_schedule():
    assert due_steps(Policy(log_spaced=True), [10**11 - 1, 10**11, 10**11 + 1]) == [10**11]


@pytest.mark.parametrize(
    ("mode", "values", "improved"),
    [
        ("max", [0.5, 0.4, 0.6, math.nan, 0.6, 0.7], [True, False, True, False, False, True]),
        ("min", [2.0, math.inf, 1.0, -math.inf, -1.0], [True, False, True, True, False]),
        ("max", [math.nan, 0.0], [False, True]),
    ],
)
def test_a_metric_is_the_best_only_when_it_is_better_than_ever(mode, values, improved):
    best, found = BestSoFar(mode), []
    for value in values:
        best.note(value)
        found.append(best.improved)
        best.improved = False
    assert found == improved


def simulate(policy, steps, num_bytes=10, best_at=(), other_bytes=0):
    """Take a snapshot at each step, thin after each; the steps that are left. No snapshot leaves bytes behind."""
    retention, there = Retention(policy), {}
    for step in steps:
        there[step] = num_bytes
        retention.add(step, num_bytes)
        if step in best_at:
            retention.best_step = step
        staying = retention.staying(there)
        retention.thin(there.pop, lambda: other_bytes + sum(there.values()), staying)
    assert retention.num_dropped == len(steps) - len(there)
    return list(there)


def test_without_a_limit_everything_stays():
    assert simulate(Policy(every=1), range(100)) == list(range(100))


def test_the_last_three_and_the_first_stay():
    assert simulate(Policy(every=1, keep_last=3), range(10)) == [0, 7, 8, 9]


def test_the_best_stays_and_an_earlier_best_goes():
    assert simulate(Policy(every=1, keep_last=2), range(10), best_at=(3, 5)) == [0, 5, 8, 9]


def test_the_best_before_stays_until_the_new_one_is_on_the_disk():
    retention = Retention(Policy(every=1, keep_last=1))
    retention.best_step = 3
    assert retention.staying({0, 3}) == {3}
    retention.best_step = 5
    assert retention.staying({0, 3, 4}) == {3, 5}
    assert retention.staying({0, 3, 5}) == {5}


def test_within_a_budget_the_oldest_in_between_go_first():
    assert simulate(Policy(every=1, max_bytes=50), range(10)) == [0, 6, 7, 8, 9]
    assert simulate(Policy(every=1, max_bytes=50), range(10), best_at=(2,)) == [0, 2, 7, 8, 9]


def test_bytes_of_others_count_against_the_budget():
    assert simulate(Policy(every=1, max_bytes=50), range(10), other_bytes=20) == [0, 8, 9]


def test_the_first_the_best_and_the_last_stay_even_beyond_the_budget():
    assert simulate(Policy(every=1, max_bytes=1), range(10), best_at=(4,)) == [0, 4, 9]


def test_a_budget_and_a_number_hold_together():
    assert simulate(Policy(every=1, keep_last=4, max_bytes=30), range(10)) == [0, 8, 9]


def test_a_run_of_steps_that_went_back_keeps_the_order_in_which_they_were_taken():
    kept = [Kept(100, 1), Kept(50, 1), Kept(60, 1)]
    assert next_to_drop(kept, (), Policy(every=1, keep_last=1)) == 50


def test_a_disk_that_does_not_delete_is_asked_again():
    retention = Retention(Policy(every=1, keep_last=1))
    for step in range(4):
        retention.add(step, 1)

    def refuse(step):
        raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        retention.thin(refuse, lambda: 4, ())
    gone = []
    retention.thin(gone.append, lambda: 4, ())
    assert gone == [1, 2]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({}, "nothing says when"),
        ({"keep_last": 3}, "nothing says when"),
        ({"every": 0}, "every should be a whole number of at least 1"),
        ({"every": 2.5}, "every should be a whole number"),
        ({"every": True}, "every should be a whole number"),
        ({"every": 1, "keep_last": 0}, "keep_last should be"),
        ({"every": 1, "max_bytes": -1}, "max_bytes should be"),
        ({"log_spaced": 1}, "log_spaced should be True or False"),
        ({"best": "val/loss"}, 'best should be a metric and "max" or "min"'),
        ({"best": ("val/loss", "lowest")}, "best should be a metric"),
        ({"best": (1, "min")}, "best should be a metric"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_at_once(wish, message):
    with pytest.raises(UsageError, match=message):
        Policy(**wish)
